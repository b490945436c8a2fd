"""Fixtures for every test: none may see or touch the user's own bundles and enrolments."""

import pytest


@pytest.fixture(autouse=True)
def lineup_home(tmp_path_factory, monkeypatch):
    """An empty `$LINEUP_HOME`, for this process and its children."""
    home = tmp_path_factory.mktemp("lineup-home")
    monkeypatch.setenv("LINEUP_HOME", str(home))
    return home
