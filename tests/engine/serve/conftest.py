"""A server over the toy engine, ready."""

import pytest
from toy_server import serving, until


@pytest.fixture
def toy(colour_engine):
    """What opens the toy engine."""
    from lineup.engine import open_engine

    return open_engine


@pytest.fixture
def client(toy):
    """A client of a server that is ready."""
    with serving(toy) as client:
        until(lambda: client.get("/readyz").status == 200)
        yield client
