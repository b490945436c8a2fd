"""Every benchmark is a program that says how it is run."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PROGRAMS = [
    path.name for path in sorted(BENCHMARKS.glob("*.py")) if "def main(" in path.read_text()
]


@pytest.mark.parametrize("program", [name for name in PROGRAMS if name != "report.py"])
def test_help_says_how_it_is_run(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process: in one of its own, each would import torch again."""
    monkeypatch.setattr(sys, "argv", [program, "--help"])

    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(BENCHMARKS / program), run_name="__main__")

    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: {program}")
