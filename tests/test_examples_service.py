"""The unit for systemd is one that systemd reads without a word."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[1] / "examples" / "lineup-serve.service"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_has_nothing_to_say_of_the_unit(tmp_path):
    copy = tmp_path / UNIT.name
    program = "/opt/lineup/bin/lineup"
    assert program in UNIT.read_text()
    copy.write_text(UNIT.read_text().replace(f"ExecStart={program}", f"ExecStart={sys.executable}"))

    done = subprocess.run(
        ["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False
    )

    assert (done.returncode, [one for one in done.stderr.splitlines() if UNIT.name in one]) == (
        0,
        [],
    )
