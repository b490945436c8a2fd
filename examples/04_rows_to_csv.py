"""Rows as a table of your own; `lineup scan FOLDER -o rows.csv` writes one with all columns."""

import csv
import sys

import lineup
from lineup.paths import shipped_dir

COLUMNS = ("path", "sha256", "verdict", "confidence", "error")

with lineup.open() as engine:
    table = csv.DictWriter(sys.stdout, COLUMNS, extrasaction="ignore")
    table.writeheader()
    for row in engine.scan(shipped_dir() / "samples"):
        # `to_dict` is the row of lineup/data/row.schema.json, the same as `lineup scan` writes.
        record = row.to_dict()
        error = record["error"]
        table.writerow(record | {"error": error and error["message"]})
