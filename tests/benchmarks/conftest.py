from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _benchmarks_on_path(monkeypatch):
    """Benchmarks are programs that lie beside each other, not a package."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
