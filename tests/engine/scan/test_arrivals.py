"""Images that arrive in a folder: once each, and not before they are complete."""

import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from lineup.scan.arrivals import arrivals

pytest.importorskip("watchfiles", reason="needs the extra watch")

SETTLE_SECONDS = 0.3


def wait_for(condition, seconds=20):
    """Wait until something holds, and return it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return found


@pytest.fixture
def watched(tmp_path):
    """A folder with an old image, whose arrivals are collected by a thread."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "old.png").write_bytes(b"old")
    os.utime(folder / "old.png", (1, 1))
    stop, found = threading.Event(), []

    def collect():
        for paths in arrivals(folder, stop, settle_seconds=SETTLE_SECONDS):
            found.extend(str(path.relative_to(folder)) for path in paths)

    thread = threading.Thread(target=collect)
    thread.start()
    wait_for(lambda: found == ["old.png"])
    yield folder, found
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_what_arrives_is_told_once(watched, tmp_path):
    folder, found = watched
    (folder / ".part.png").write_bytes(b"hidden")
    (folder / "notes.txt").write_bytes(b"text")
    for number in range(20):
        gone = folder / f"gone-{number}.png"
        gone.write_bytes(b"gone")
        gone.unlink()
    (folder / "new.png").write_bytes(b"new")
    batch = tmp_path / "batch"
    (batch / "deep").mkdir(parents=True)
    (batch / "deep" / "moved.jpg").write_bytes(b"moved")
    shutil.move(batch, folder / "batch")
    (folder / ".part.png").rename(folder / "whole.png")

    expected = {"old.png", "new.png", "whole.png", "batch/deep/moved.jpg"}
    wait_for(lambda: set(found) == expected)
    time.sleep(3 * SETTLE_SECONDS)
    assert sorted(found) == sorted(expected)


def test_a_file_that_grows_is_waited_for_and_one_that_goes_on_comes_again(watched):
    folder, found = watched
    growing = folder / "slow.png"
    for _ in range(8):
        with growing.open("ab") as stream:
            stream.write(b"part")
        assert found == ["old.png"]
        time.sleep(SETTLE_SECONDS / 4)
    wait_for(lambda: found == ["old.png", "slow.png"])

    growing.write_bytes(b"another")

    wait_for(lambda: found == ["old.png", "slow.png", "slow.png"])


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_rows_are_written_as_images_arrive_and_once_over_restarts(
    tmp_path, start_scan, write_image
):
    folder, output = tmp_path / "in", tmp_path / "rows.jsonl"
    write_image(folder / "a.png", seed=1)
    (folder / "text.jpg").write_bytes(b"text")

    def rows():
        if not output.exists():
            return {}
        lines = [json.loads(line) for line in output.read_text().splitlines()]
        return {Path(row["path"]).name: row["verdict"] for row in lines}

    def start():
        return start_scan("watch", folder, "-o", output, "--settle", SETTLE_SECONDS)

    def stopped(child, by):
        child.send_signal(by)
        assert child.wait(20) == 0
        return child.stderr.read().decode()

    child = start()
    wait_for(lambda: len(rows()) == 2)
    write_image(folder / "sub" / "b.png", seed=2)
    wait_for(lambda: len(rows()) == 3)
    assert "stopped after 3 rows" in stopped(child, signal.SIGINT)

    write_image(folder / "c.png", seed=3)
    child = start()
    wait_for(lambda: len(rows()) == 4)
    write_image(folder / "text.jpg", seed=4)  # it was no image, and is one now
    wait_for(lambda: rows().get("text.jpg"))
    stopped(child, signal.SIGTERM)

    assert rows() == dict.fromkeys(["a.png", "text.jpg", "b.png", "c.png"], "reds")
    assert len(output.read_text().splitlines()) == 4  # the failure's row gave way to the last
