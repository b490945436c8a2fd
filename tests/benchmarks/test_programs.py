"""Every benchmark is a program that says how it is run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PROGRAMS = [
    path.name for path in sorted(BENCHMARKS.glob("*.py")) if "def main(" in path.read_text()
]


@pytest.mark.parametrize("program", [name for name in PROGRAMS if name != "report.py"])
def test_help_says_how_it_is_run(program: str) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / program), "--help"],
        capture_output=True,
        check=False,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {program}")
