"""Fixtures for every test."""

import os
import signal

import hypothesis
import pytest

# A busy machine is slow, not wrong.
hypothesis.settings.register_profile("lineup", deadline=None)
hypothesis.settings.load_profile("lineup")

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores among them; torch and NumPy read this when they are loaded.
    for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_variable, "1")

pytest_plugins = ["toy_models", "toy_engine"]


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """Take SIGINT as a terminal's user would: a background job starts with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def home_of_wider_fixtures(tmp_path_factory):
    """What is opened for a whole file would find the user's own, with what was pulled there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LINEUP_HOME", str(tmp_path_factory.mktemp("lineup-home")))
        yield


@pytest.fixture(autouse=True)
def lineup_home(tmp_path_factory, monkeypatch):
    """An empty `$LINEUP_HOME`, for this process and its children: never the user's own."""
    home = tmp_path_factory.mktemp("lineup-home")
    monkeypatch.setenv("LINEUP_HOME", str(home))
    return home
