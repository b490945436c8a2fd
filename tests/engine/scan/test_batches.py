import numpy as np
import pytest

from lineup.errors import BackendError
from lineup.scan.ahead import Signal
from lineup.scan.batches import batches_from_stream, rows_from_batch
from lineup.scan.prepare import Prepared
from lineup.scan.rows import Row, RowError, StageTimes

BLUE, RED, GREY = (0, 0, 255), (255, 0, 0), (90, 90, 90)


def image(name, tiles=1, colour=RED):
    pixels = np.full((tiles, 16, 16, 3), colour, np.uint8)
    return Prepared(Row(name, "0" * 12, ms=StageTimes(read=1.0)), pixels, (f"note on {name}",))


def broken(name):
    return Prepared(Row(name, "0" * 12, error=RowError("E", "bad")))


def grouped(items, max_images=3, max_tiles=10):
    batches = batches_from_stream(items, max_images=max_images, max_tiles=max_tiles)
    return ["".join(item.row.path for item in batch) for batch in batches]


def test_batches_are_full_and_in_order():
    assert grouped(map(image, "abcdefg")) == ["abc", "def", "g"]


def test_tiles_are_limited_too():
    items = [image("a", 4), image("b", 6), image("c", 1), image("d", 25), image("e", 1)]

    assert grouped(items) == ["ab", "c", "d", "e"]


def test_errors_ride_along_or_go_at_once():
    items = [broken("x"), broken("y"), image("a"), broken("z"), image("b"), image("c"), broken("w")]

    assert grouped(items) == ["x", "y", "azbc", "w"]


def test_a_stall_delivers_what_is_there():
    stall, skip = Signal.STALLED, Signal.SKIPPED

    assert grouped([stall, image("a"), skip, image("b"), stall, stall, image("c")]) == ["ab", "c"]


def test_rows_are_in_order_and_complete(engine):
    batch = [image("a"), broken("x"), image("b", 3, BLUE)]
    rows = list(rows_from_batch(batch, engine))

    assert [row.path for row in rows] == ["a", "x", "b"]
    assert [row.verdict and row.verdict.label for row in rows] == ["reds", None, "blues"]
    assert [bool(row.error) for row in rows] == [False, True, False]
    assert rows[0].verdict.evidence[0].notes == ("note on a",)
    assert rows[0].ms.read == 1.0
    assert rows[1].ms.inference is None
    assert engine.extractor.batches == [[1, 3]]


def test_time_is_shared_by_tiles(fakes):
    engine = fakes["FakeEngine"](delay_ms=5)
    first, second = rows_from_batch([image("a"), image("b", 3)], engine)

    assert second.ms.inference == pytest.approx(3 * first.ms.inference)
    assert first.ms.inference + second.ms.inference >= 10
    assert first.ms.fuse == second.ms.fuse > 0
    assert first.verdict.evidence[0].cost_ms == first.ms.inference


def test_one_image_that_breaks_the_model_fails_alone(engine):
    engine.extractor.poison = {GREY}
    rows = list(rows_from_batch([image("a"), image("b", 1, GREY), image("c", 1, BLUE)], engine))

    assert [row.verdict and row.verdict.label for row in rows] == ["reds", None, "blues"]
    assert (rows[1].error.type, rows[1].error.message) == ("RuntimeError", "the model choked")
    assert rows[1].ms.inference >= 0
    assert engine.extractor.batches == [[1, 1, 1], [1], [1], [1]]


@pytest.mark.parametrize("answer", [np.full((1, 3), np.nan), np.zeros((0, 3))])
def test_a_model_that_answers_nonsense_is_an_error(engine, answer):
    engine.extractor.fingerprints_from_tiles = lambda tiles: answer
    (row,) = rows_from_batch([image("a")], engine)

    assert row.verdict is None
    assert row.error.type == "BackendError"


def test_a_missing_verdict_never_loses_a_row(engine):
    verdicts = engine.verdicts
    engine.verdicts = lambda fingerprints, **given: verdicts(fingerprints, **given)[:1]
    rows = list(rows_from_batch([image("a"), image("b")], engine))

    assert [row.verdict.label for row in rows] == ["reds", "reds"]


def test_an_interrupt_is_no_image_error(engine):
    def interrupted(tiles):
        raise KeyboardInterrupt

    engine.extractor.fingerprints_from_tiles = interrupted
    with pytest.raises(KeyboardInterrupt):
        list(rows_from_batch([image("a")], engine))


def test_a_model_that_fails_on_every_image_stops_the_scan(engine, monkeypatch):
    def lost(tiles):
        raise RuntimeError("device lost")

    monkeypatch.setattr(engine.extractor, "fingerprints_from_tiles", lost)

    with pytest.raises(BackendError, match="failed on 2 images in a row: device lost"):
        list(rows_from_batch([image("a"), image("b")], engine))
