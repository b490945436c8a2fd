import threading
from pathlib import Path

import pytest

from lineup.cli.progress import failure_line, scan_progress
from lineup.results import Attribution, RowError
from lineup.scan.meter import ScanMeter


@pytest.fixture
def terminal(monkeypatch, capsys):
    """What rich writes to stderr, taken for a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return lambda: capsys.readouterr().err


def test_the_bar_shows_counts_and_failures(terminal):
    meter = ScanMeter(1)
    meter.start()
    with scan_progress(meter, [Path("a"), Path("b")]) as update:
        meter.add_row(Attribution("a", "r"))
        meter.add_row(Attribution("b", "r", error=RowError("E", "bad")))
        update()

    shown = terminal()
    assert "2/" in shown
    assert "1 failed" in shown


def test_a_long_listing_does_not_delay_and_ends_with_the_scan(terminal):
    listed = threading.Semaphore(0)
    seen = []

    def endless():
        while True:
            listed.acquire(timeout=10)
            seen.append(1)
            yield Path("x")

    meter = ScanMeter(1)
    with scan_progress(meter, endless()) as update:
        update()
    listed.release(3)

    assert "0/?" in terminal()


def test_a_failure_names_its_file_once():
    assert failure_line("a.png", "a.png cannot be read") == "a.png cannot be read"
    assert failure_line("a.png", "the file is empty") == "a.png: the file is empty"
