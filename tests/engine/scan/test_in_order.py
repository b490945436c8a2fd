import threading
import time
from pathlib import Path

import numpy as np
import pytest

from lineup.look_ahead import LookAhead, Signal, read_in_order
from lineup.stream import StreamedImage

PATHS = [Path(f"{index:03}.png") for index in range(40)]
TILE_BYTES = 16 * 16 * 3


def image(path):
    return StreamedImage(path, tiles=np.zeros((1, 16, 16, 3), np.uint8))


def stream(paths=PATHS, read=image, workers=4, ahead=None, stall_seconds=30.0):
    ahead = ahead or LookAhead(8, 10**9)
    return read_in_order(
        paths, read, workers=workers, look_ahead=ahead, stall_seconds=stall_seconds
    )


def names(items):
    return [str(item.path) for item in items]


def test_answers_come_in_the_order_of_the_paths():
    def slower_first(path):
        time.sleep(0.002 * (3 - int(path.stem) % 4))
        return image(path)

    assert names(stream(read=slower_first)) == [str(path) for path in PATHS]


def test_readers_run_side_by_side():
    together = threading.Barrier(4, timeout=10)

    def meet(path):
        together.wait()
        return image(path)

    assert len(list(stream(read=meet))) == len(PATHS)


def test_what_is_done_is_a_signal():
    items = list(stream(read=lambda path: None if path == PATHS[1] else image(path)))

    assert items.index(Signal.SKIPPED) == 1
    assert len(items) == len(PATHS)


@pytest.mark.parametrize(("images", "size"), [(5, 10**9), (1000, 5 * TILE_BYTES)])
def test_readers_never_run_further_ahead_than_allowed(images, size):
    done = []
    ahead = LookAhead(images, size)

    def count(path):
        item = image(path)
        done.append(path)
        return item

    for taken, _ in enumerate(stream(read=count, workers=2, ahead=ahead), start=1):
        time.sleep(0.002)
        # What the two readers were at when the limit was reached comes on top.
        assert len(done) - taken <= 5 + 2
    assert len(done) == len(PATHS)
    assert ahead.peak_images <= images
    assert 3 * TILE_BYTES <= ahead.peak_bytes <= min(size, 5 * TILE_BYTES) + 2 * TILE_BYTES


def test_a_late_first_image_is_not_locked_out_by_later_ones():
    ahead = LookAhead(1000, TILE_BYTES)

    def late(path):
        time.sleep(0.05 if path == PATHS[0] else 0)
        return image(path)

    assert names(stream(read=late, ahead=ahead)) == [str(path) for path in PATHS]


def test_a_slow_list_is_signalled_and_holds_back_nothing():
    more = threading.Event()

    def slow_list():
        yield PATHS[0]
        more.wait(30)
        yield PATHS[1]

    items = stream(slow_list(), stall_seconds=0.02)
    first = next(item for item in items if item is not Signal.STALLED)  # a busy machine is slow too
    assert str(first.path) == str(PATHS[0])
    assert next(items) is Signal.STALLED
    more.set()
    assert names(item for item in items if item is not Signal.STALLED) == [str(PATHS[1])]


def test_an_error_of_the_list_comes_after_the_images_before_it():
    def failing_list():
        yield PATHS[0]
        raise OSError("the list went away")

    items = stream(failing_list())
    assert str(next(items).path) == str(PATHS[0])
    with pytest.raises(OSError, match="went away"):
        next(items)


def test_closing_ends_the_threads():
    before = threading.active_count()
    items = stream(workers=3)
    next(items)
    items.close()

    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before
