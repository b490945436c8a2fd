"""The identity of a run is the same in every process, so that a scan can be resumed."""

import os
import subprocess
import sys

PROGRAM = """
import lineup
options = lineup.AttributionOptions(evidence=("fingerprint",))
with lineup.open("pocket", device="cpu") as engine:
    assert engine.calibration is not None
    print(engine.run_id(options))
"""


def test_the_order_of_sets_does_not_change_it():
    found = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert found[0] == found[1] != ""
