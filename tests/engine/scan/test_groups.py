"""Images in groups: their limits, their order, and who fails when a model does."""

from pathlib import Path

import numpy as np
import pytest

from lineup.errors import BackendError, UsageError
from lineup.look_ahead import Signal
from lineup.options import DEFAULT_OPTIONS
from lineup.results import RowError, StageTimes
from lineup.scan.pipeline import rows_from_group
from lineup.stream import StreamedImage, StreamOptions, groups_from_stream

BLUE, RED, GREY = (0, 0, 255), (255, 0, 0), (90, 90, 90)
RUN = "0" * 12


def image(name, tiles=1, colour=RED):
    pixels = np.full((tiles, 16, 16, 3), colour, np.uint8)
    notes = (f"note on {name}",)
    return StreamedImage(Path(name), ms=StageTimes(read=1.0), tiles=pixels, tile_notes=notes)


def broken(name):
    return StreamedImage(Path(name), error=RowError("E", "bad"))


def grouped(items, **limits):
    options = StreamOptions(**{"group_images": 3, "group_tiles": 10} | limits)
    groups = groups_from_stream(items, options)
    return ["".join(item.path.name for item in group) for group in groups]


def answered(group, engine):
    return list(rows_from_group(group, engine, DEFAULT_OPTIONS, RUN))


def test_groups_are_full_and_in_order():
    assert grouped(map(image, "abcdefg")) == ["abc", "def", "g"]


def test_tiles_are_limited_too():
    items = [image("a", 4), image("b", 6), image("c", 1), image("d", 25), image("e", 1)]

    assert grouped(items) == ["ab", "c", "d", "e"]
    assert grouped(items, group_tiles=None) == ["abc", "de"]


def test_bytes_are_limited_too():
    one = 16 * 16 * 3
    items = list(map(image, "abcd"))

    assert grouped(items, group_bytes=2 * one) == ["ab", "cd"]
    assert grouped(items, group_bytes=one // 2) == ["a", "b", "c", "d"]


def test_errors_ride_along_or_go_at_once():
    items = [broken("x"), broken("y"), image("a"), broken("z"), image("b"), image("c"), broken("w")]

    assert grouped(items) == ["x", "y", "azbc", "w"]


def test_a_stall_delivers_what_is_there_unless_the_group_waits():
    stall, skip = Signal.STALLED, Signal.SKIPPED
    items = [stall, image("a"), skip, image("b"), stall, stall, image("c")]

    assert grouped(items) == ["ab", "c"]
    assert grouped(items, waits_for_group=True) == ["abc"]


def test_rows_are_in_order_and_complete(engine):
    rows = answered([image("a"), broken("x"), image("b", 3, BLUE)], engine)

    assert [row.path for row in rows] == ["a", "x", "b"]
    assert [row.verdict and row.verdict.label for row in rows] == ["reds", None, "blues"]
    assert [bool(row.error) for row in rows] == [False, True, False]
    assert rows[0].verdict.evidence[0].notes == ("note on a",)
    assert rows[0].ms.read == 1.0
    assert rows[1].ms.inference is None
    assert engine.extractor.batches == [[1, 3]]


def test_time_is_shared_by_tiles(fakes):
    engine = fakes["fake_engine"](delay_ms=5)
    first, second = answered([image("a"), image("b", 3)], engine)

    assert second.ms.inference == pytest.approx(3 * first.ms.inference)
    assert first.ms.inference + second.ms.inference >= 10
    assert first.ms.fuse > 0
    assert first.verdict.evidence[0].cost_ms == first.ms.inference


def test_one_image_that_breaks_the_model_fails_alone(engine):
    engine.extractor.poison = {GREY}
    rows = answered([image("a"), image("b", 1, GREY), image("c", 1, BLUE)], engine)

    assert [row.verdict and row.verdict.label for row in rows] == ["reds", None, "blues"]
    assert (rows[1].error.type, rows[1].error.message) == ("RuntimeError", "the model choked")
    assert engine.extractor.batches == [[1, 1, 1], [1], [1], [1]]


@pytest.mark.parametrize("answer", [np.full((1, 3), np.nan), np.zeros((0, 3))])
def test_a_model_that_answers_nonsense_is_an_error(engine, answer):
    engine.extractor.fingerprints_from_tiles = lambda tiles: answer
    (row,) = answered([image("a")], engine)

    assert row.verdict is None
    assert row.error.type == "BackendError"


def test_an_interrupt_is_no_image_error(engine):
    def interrupted(tiles):
        raise KeyboardInterrupt

    engine.extractor.fingerprints_from_tiles = interrupted
    with pytest.raises(KeyboardInterrupt):
        answered([image("a")], engine)


def test_a_model_that_fails_on_every_image_stops_the_scan(engine, monkeypatch):
    def lost(tiles):
        raise RuntimeError("device lost")

    monkeypatch.setattr(engine.extractor, "fingerprints_from_tiles", lost)

    with pytest.raises(BackendError, match="failed on 2 images in a row: device lost"):
        answered([image("a"), image("b")], engine)


def test_a_mistake_of_the_user_is_no_images_fault(engine, monkeypatch):
    def refuse(tiles):
        raise UsageError("no captioner")

    monkeypatch.setattr(engine.extractor, "fingerprints_from_tiles", refuse)
    with pytest.raises(UsageError):
        answered([image("a"), image("b")], engine)
