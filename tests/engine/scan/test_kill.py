"""Scans that are stopped from outside, in child processes."""

import csv
import io
import json
import os
import random
import signal
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

KILLS = 10
DELAY_MS = 12.0


@pytest.fixture
def folder(mixed_folder, write_image):
    """The mixed folder and a hundred images more."""
    for index in range(100):
        write_image(mixed_folder / "more" / f"{index:03}.png", (9, 9, 200), seed=index)
    return mixed_folder


def without_times(data, suffix):
    if suffix == "csv":
        rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
        return [{key: one for key, one in row.items() if not key.startswith("ms.")} for row in rows]
    rows = [json.loads(line) for line in data.splitlines()]
    for row in rows:
        row["ms"] = None
        for evidence in (row["evidence"] or {}).values():
            evidence["cost_ms"] = None
    return rows


def wait_for_growth(path, size, child, seconds=30):
    """Wait until the scan has written something new; False when it has ended."""
    deadline = time.monotonic() + seconds
    while child.poll() is None and time.monotonic() < deadline:
        if path.exists() and path.stat().st_size > size:
            return True
        time.sleep(0.002)
    return False


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_killed_at_ten_random_moments_and_resumed(suffix, folder, tmp_path, start_scan):
    undisturbed = tmp_path / f"undisturbed.{suffix}"
    assert start_scan(folder, "--output", undisturbed).wait(60) == 1
    expected = without_times(undisturbed.read_bytes(), suffix)
    assert len(expected) == 116

    path = tmp_path / f"killed.{suffix}"
    moments = random.Random(f"moments of {suffix}")
    for _ in range(KILLS):
        size = path.stat().st_size if path.exists() else 0
        child = start_scan(folder, "--output", path, "--resume", "--batch", 2, delay_ms=DELAY_MS)
        assert wait_for_growth(path, size, child), child.communicate()
        time.sleep(moments.uniform(0, 0.04))
        child.kill()
        assert child.wait(30) == -signal.SIGKILL
        if moments.random() < 0.5:  # as if the kill had come in the middle of a write
            os.truncate(path, path.stat().st_size - moments.randrange(1, 40))
    assert start_scan(folder, "--output", path, "--resume").wait(60) == 1

    assert without_times(path.read_bytes(), suffix) == expected


def test_an_interrupt_ends_cleanly_and_can_be_resumed(folder, tmp_path, start_scan):
    path = tmp_path / "r.jsonl"
    child = start_scan(folder, "--output", path, "--batch", 1, delay_ms=DELAY_MS)
    assert wait_for_growth(path, 0, child)
    child.send_signal(signal.SIGINT)
    _, messages = child.communicate(timeout=30)
    rows = path.read_bytes().splitlines()

    assert child.returncode == 130
    assert messages.decode() == f"interrupted after {len(rows)} rows; run again with --resume\n"
    assert 0 < len(rows) < 116
    assert path.read_bytes().endswith(b"\n")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["in", "r.jsonl"]
    assert start_scan(folder, "--output", path, "--resume").wait(60) == 1
    assert len(path.read_bytes().splitlines()) == 116


def test_an_interrupt_while_a_pipe_stays_open(start_scan, folder, tmp_path):
    """The thread that waits for more paths must not keep the program alive, or crash it."""
    reading, writing = os.pipe()
    path = tmp_path / "r.jsonl"
    child = start_scan("-", "--output", path, stdin=reading)
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as pipe:
        pipe.write(os.fsencode(folder / "sub1" / "01.png") + b"\n")
        assert wait_for_growth(path, 0, child)  # though the list may go on
        child.send_signal(signal.SIGINT)
        _, messages = child.communicate(timeout=30)

    assert child.returncode == 130, messages
    assert messages == b"interrupted after 1 rows; run again with --resume\n"


def test_a_reader_that_leaves_ends_the_scan_quietly(folder, start_scan):
    child = start_scan(folder, "--batch", 1, delay_ms=DELAY_MS)
    assert child.stdout.readline().startswith(b'{"path": ')
    child.stdout.close()
    messages = child.stderr.read()
    child.wait(30)

    assert (child.returncode, messages) == (141, b"")


def test_a_second_scan_on_the_same_output_is_refused(folder, tmp_path, start_scan):
    path = tmp_path / "r.jsonl"
    first = start_scan(folder, "--output", path, "--batch", 1, delay_ms=20 * DELAY_MS)
    assert wait_for_growth(path, 0, first)
    second = start_scan(folder, "--output", path, "--resume")
    _, messages = second.communicate(timeout=30)

    assert second.returncode == 2
    assert b"Another scan is writing" in messages
    assert b"Traceback" not in messages
    assert first.poll() is None
