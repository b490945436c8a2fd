"""Stage by stage over many queries: the same results, every model taken once."""

import time
from contextlib import contextmanager
from functools import partial
from unittest.mock import Mock

import numpy as np
import pytest

from lineup.errors import UsageError
from lineup.options import ResynthesisOptions
from lineup.query import Query
from lineup.resynthesis.cache import ResultCache
from lineup.resynthesis.making import ModelSource
from lineup.resynthesis.resynthesizer import Resynthesizer
from lineup.stored.store import StoredSet

OPTIONS = ResynthesisOptions(gamma=2)


class ToyFingerprinter:
    digest = "toy-fingerprint"

    def fingerprints(self, images):
        rows = np.stack([image[0, :4].reshape(-1) for image in images]).astype(np.float32) + 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Logged:
    """A source of toy models, and a log of when each is taken and given back."""

    def __init__(self, generators, captioner, encoder):
        self.log = []
        self.models = ModelSource(
            {name: partial(self._taken, name, one) for name, one in generators.items()},
            partial(self._taken, "captioner", captioner),
            partial(self._taken, "encoder", encoder),
            encoder,
        )

    @contextmanager
    def _taken(self, name, model):
        self.log.append(f"+{name}")
        yield model
        self.log.append(f"-{name}")


@pytest.fixture
def source(toy_generators, toy_captioner, toy_encoder):
    class NumberedCaptions(type(toy_captioner)):
        def captions(self, images):
            found = super().captions(images)
            return [
                type(one)(f"{one.text} {image[0, 0, 0]}")
                for one, image in zip(found, images, strict=True)
            ]

    return Logged(toy_generators, NumberedCaptions(), toy_encoder)


@pytest.fixture
def queries():
    rng = np.random.default_rng(5)
    return [Query(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(5)]


def resynthesizer(source, cache=None):
    return Resynthesizer(source.models, fingerprinter=ToyFingerprinter(), cache=cache)


def essence(resynthesis):
    """Everything but times."""
    return (
        resynthesis.caption,
        {name: [one.tobytes() for one in images] for name, images in resynthesis.images.items()},
        resynthesis.best,
        [(one.name, one.scores, one.samples) for one in resynthesis.evidence],
        {
            name: (one.calls, one.items, one.cached)
            for name, one in resynthesis.trace.stages.items()
        },
        {name: one.calls for name, one in resynthesis.trace.graphs.items()},
    )


@pytest.mark.parametrize("cached", [False, True])
def test_a_chunk_gets_what_each_query_gets_alone(source, queries, tmp_path, cached):
    caches = [ResultCache(tmp_path / name) if cached else None for name in "ab"]

    together = resynthesizer(source, caches[0]).resyntheses(queries, OPTIONS)
    alone = [resynthesizer(source, caches[1]).resyntheses([one], OPTIONS)[0] for one in queries]

    assert [essence(one) for one in together] == [essence(one) for one in alone]
    assert len({one.caption for one in together}) > 1


def test_every_model_is_taken_once_and_given_back_before_the_next(source, queries):
    resynthesizer(source).resyntheses(queries, OPTIONS)

    expected = ["captioner", "reds", "blues", "encoder"]
    assert source.log == [f"{sign}{name}" for name in expected for sign in "+-"]


def test_each_graph_of_a_generator_works_off_all_captions_before_the_next(
    source, queries, toy_generators, monkeypatch
):
    order = []
    reds = toy_generators["reds"]
    for name in ("text_states", "latents", "images_from_latents"):
        work = getattr(reds, name)
        monkeypatch.setattr(
            reds, name, lambda *given, name=name, work=work: order.append(name) or work(*given)
        )

    made = resynthesizer(source).resyntheses(queries, OPTIONS)

    captions = len({one.caption for one in made})
    expected = ["text_states", "latents", "images_from_latents"]
    assert order == [name for name in expected for _ in range(captions)]


def test_what_was_denoised_outlives_a_run_that_is_cut_off(
    source, queries, toy_generators, tmp_path, monkeypatch
):
    cache = ResultCache(tmp_path)
    blues = toy_generators["blues"]
    expected = [essence(one)[:4] for one in resynthesizer(source).resyntheses(queries, OPTIONS)]
    monkeypatch.setattr(blues, "images_from_latents", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        resynthesizer(source, cache).resyntheses(queries, OPTIONS)
    monkeypatch.undo()
    denoised = list(blues.seeds)

    again = resynthesizer(source, cache).resyntheses(queries, OPTIONS)

    assert [essence(one)[:4] for one in again] == expected
    assert blues.seeds == denoised


def test_latents_leave_the_cache_when_their_pictures_come(source, queries, tmp_path):
    resynthesizer(source, ResultCache(tmp_path)).resyntheses(
        queries, OPTIONS, signals=["resynthesis-fingerprint"]
    )

    vectors = [np.load(path) for path in tmp_path.glob("??/*.npy")]
    assert vectors
    assert all(vector.ndim == 1 and len(vector) > 1 for vector in vectors)


def test_equal_captions_are_drawn_once(source, queries, toy_generators):
    twins = [queries[0], queries[0]]

    first, second = resynthesizer(source).resyntheses(twins, OPTIONS)

    assert toy_generators["reds"].seeds == [0, 1]
    assert second.trace.stage("generate").cached == 4
    assert essence(first)[:4] == essence(second)[:4]


def test_only_the_candidates_asked_for_redraw(source, queries, toy_generators, red_image):
    stored = {"bought": [StoredSet("bought", "something red", (red_image,))]}
    some = [
        Query(queries[0].pixels, candidates=("blues",)),
        Query(queries[1].pixels),
        Query(queries[2].pixels, candidates=("bought",), stored=stored),
    ]

    made = resynthesizer(source).resyntheses(some, OPTIONS)

    assert [list(one.images) for one in made] == [["blues"], ["reds", "blues"], ["bought"]]
    assert made[2].caption == "something red"
    assert len(toy_generators["reds"].seeds) == 2


def test_a_model_that_is_not_needed_is_not_taken(source, queries):
    options = ResynthesisOptions(gamma=1, prompt="a known prompt")

    resynthesizer(source).resyntheses(queries, options, signals=["resynthesis-fingerprint"])

    assert source.log == ["+reds", "-reds", "+blues", "-blues"]


def test_the_time_of_others_is_not_counted(source, queries):
    start = time.perf_counter()
    made = resynthesizer(source).resyntheses(queries, OPTIONS)
    wall_s = time.perf_counter() - start

    for one in made:
        assert one.trace.seconds >= sum(stage.seconds for stage in one.trace.stages.values())
    assert sum(one.trace.seconds for one in made) <= wall_s


def test_a_query_with_nothing_to_compare_is_refused(source, queries):
    with pytest.raises(UsageError, match="resynthesis"):
        resynthesizer(source).resyntheses(
            [queries[0], Query(queries[1].pixels, candidates=())], OPTIONS
        )
