"""Rows of a scan by a lineup: those of every scan, and what only a lineup says at the end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lineup.engine import FINGERPRINT_EVIDENCE, REAL_EVIDENCE
from lineup.evidence.resynthesis import SIGNALS
from lineup.results import REAL, UNKNOWN
from lineup.scan.csv_table import (
    LEADING_COLUMNS,
    NOTE_SEPARATOR,
    TRAILING_COLUMNS,
    CsvEncoder,
    safe_text,
)
from lineup.scan.encoding import RowEncoder, RowFormat
from lineup.scan.jsonl import JsonlEncoder
from lineup.scan.rows import Row, record_from_row

FURTHER_KEYS = ("family", "candidates_set", "caption", "verdict_notes")
"""Behind the keys of every row; see `lineup.results.Verdict`."""


def lineup_record_from_row(row: Row) -> dict[str, Any]:
    """Return `record_from_row` and `FURTHER_KEYS`; None without a verdict."""
    verdict = row.verdict
    if verdict is None:
        return record_from_row(row) | dict.fromkeys(FURTHER_KEYS)
    return record_from_row(row) | {
        "family": list(verdict.family),
        "candidates_set": list(verdict.candidates_set),
        "caption": verdict.caption,
        "verdict_notes": list(verdict.notes),
    }


class LineupJsonlEncoder(JsonlEncoder):
    """Writes rows as JSON lines with `FURTHER_KEYS`."""

    def bytes_from_row(self, row: Row) -> bytes:
        """Return one line."""
        line = json.dumps(lineup_record_from_row(row), allow_nan=False)
        return line.encode("ascii") + b"\n"


class LineupCsvEncoder(CsvEncoder):
    """Writes rows as a CSV table with a column for each of `FURTHER_KEYS` at the end."""

    def __init__(self, columns: Sequence[str]) -> None:
        super().__init__((*columns, *FURTHER_KEYS))

    def cells_from_row(self, row: Row) -> Mapping[str, Any]:
        """Return the cells by column; lists are joined."""
        record = lineup_record_from_row(row)
        further = {key: _cell(record[key]) for key in FURTHER_KEYS}
        return {**super().cells_from_row(row), **further}


def lineup_encoder(
    row_format: RowFormat,
    *,
    candidates: Sequence[str],
    fingerprinted: Sequence[str],
    redrawn: Sequence[str],
    evidence: Iterable[str],
    tells_real: bool,
) -> RowEncoder:
    """Return the encoder of a lineup's rows.

    Args:
        row_format: How rows are written.
        candidates: Every source that may be named.
        fingerprinted: Those with fingerprints in the gallery.
        redrawn: Those that the evidence of resynthesis can speak of.
        evidence: What is asked for.
        tells_real: Whether the fingerprint bundle tells photographs from generated images.
    """
    if row_format is not RowFormat.CSV:
        return LineupJsonlEncoder()
    columns = [f"posterior.{name}" for name in (*candidates, UNKNOWN, REAL)]
    asked = tuple(evidence)
    for name in (FINGERPRINT_EVIDENCE, *SIGNALS):
        if name not in asked:
            continue
        sources = fingerprinted if name == FINGERPRINT_EVIDENCE else redrawn
        columns += [f"{name}.score.{source}" for source in sources]
        columns += [f"{name}.llr.{source}" for source in sources]
        if name == FINGERPRINT_EVIDENCE and tells_real:
            columns.append(f"{REAL_EVIDENCE}.llr.{REAL}")
    return LineupCsvEncoder((*LEADING_COLUMNS, *columns, *TRAILING_COLUMNS))


def _cell(value: list[str] | str | None) -> Any:
    return safe_text(NOTE_SEPARATOR.join(value) if isinstance(value, list) else value)
