import numpy as np
import pytest

from lineup.errors import UsageError
from lineup.picture import MARK, NONE_MARK, TILE_PX, picture_from_attribution, write_picture
from lineup.reading import read_image
from lineup.results import Attribution, Evidence, Resyntheses, Verdict
from lineup.trace import Trace

COLOURS = [(200, 30, 30), (30, 30, 200), (30, 200, 200), (200, 200, 30), (200, 30, 200)]


def plain(colour, height=64, width=64):
    return np.full((height, width, 3), colour, np.uint8)


def attribution(label="a", count=3, family=(), caption="a red ball"):
    names = [chr(ord("a") + index) for index in range(count)]
    posterior = dict.fromkeys(names, 0.0) | {"generated": 0.1, "photograph": 0.1}
    posterior[names[0]] = 0.8
    scores = dict.fromkeys(names, 0.5)
    evidence = (Evidence("resynthesis", scores, {}, 1.0), Evidence("fingerprint", {}, {}, 1.0))
    resyntheses = Resyntheses(
        caption=caption,
        images={
            name: (plain((0, 0, 0)), plain(COLOURS[index % 5])) for index, name in enumerate(names)
        },
        best=dict.fromkeys(names, 1),
        evidence=evidence,
        trace=Trace(),
    )
    verdict = Verdict(label, posterior, evidence, family=family, caption=caption)
    return Attribution("q.png", "0" * 12, verdict=verdict, resyntheses=resyntheses)


def pixels_of(picture, colour):
    return int((picture == np.array(colour, np.uint8)).all(axis=2).sum())


def drawn(**changes):
    return picture_from_attribution(plain((60, 160, 60)), attribution(**changes), title="q.png")


def test_query_and_best_resyntheses_are_there():
    picture = drawn()

    for colour in [(60, 160, 60), *COLOURS[:3]]:
        assert pixels_of(picture, colour) > 0.8 * TILE_PX**2
    assert pixels_of(picture, (0, 0, 0)) < 100  # not the worse resynthesis


def test_the_verdict_is_marked():
    frame = 4 * 5 * TILE_PX

    assert pixels_of(drawn(label="a"), MARK) > frame
    assert pixels_of(drawn(label="b", family=("b", "c")), MARK) > 2 * frame
    for label in ("generated", "undetermined"):
        none = drawn(label=label)
        assert pixels_of(none, MARK) == 0
        assert pixels_of(none, NONE_MARK) > frame


@pytest.mark.parametrize("count", [1, 2, 4, 5, 9, 16])
def test_any_number_of_candidates_fits(count):
    picture = drawn(count=count)

    assert picture.shape[1] < 2000
    shown = sum(pixels_of(picture, colour) for colour in COLOURS[: min(count, 5)])
    assert shown > 0.8 * count * TILE_PX**2


def test_long_texts_stay_inside():
    wide = drawn(count=1, caption="word " * 60)
    narrow = drawn(count=1, caption="word")

    assert wide.shape[1] == narrow.shape[1]
    assert wide.shape[0] > narrow.shape[0]
    paper = wide[0, 0]
    assert (wide[:, :30] == paper).all()
    assert (wide[:, -30:] == paper).all()


@pytest.mark.parametrize("size", [(16, 600), (900, 20), (1, 1)])
def test_a_query_of_any_shape_keeps_its_proportions(size):
    query = plain((60, 160, 60), *size)

    picture = picture_from_attribution(query, attribution(), title="q.png")

    height, width = size
    scale = TILE_PX / max(size)
    expected = max(1, round(height * scale)) * max(1, round(width * scale))
    assert pixels_of(picture, (60, 160, 60)) == expected


def test_the_picture_is_a_file_that_can_be_read(tmp_path):
    path = tmp_path / "a" / "picture.png"

    write_picture(path, plain((9, 9, 9)), attribution(), title="q.png")

    assert read_image(path).height_px > TILE_PX


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(UsageError, match="file"):
        write_picture(tmp_path / "file" / "x.png", plain((9, 9, 9)), attribution(), title="q")
