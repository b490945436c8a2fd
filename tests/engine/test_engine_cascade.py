"""A lineup's engine over several images, and with evidence left out; all models are toys."""

import numpy as np
import pytest

from lineup.engine import Engine
from lineup.fingerprint import Signals
from lineup.gallery.gallery import Gallery
from lineup.gallery.support import SourceRole, SupportSet
from lineup.imaging.tiles import TileSpec, tiles_from_image
from lineup.lineups.models import ResynthesisModels
from lineup.lineups.spec import CandidateSpec, LineupSpec
from lineup.lineups.store import Lineup
from lineup.options import DEFAULT_OPTIONS, AttributionOptions, CascadeOptions, ResynthesisOptions
from lineup.planning import costs as costs_module
from lineup.query import Query
from lineup.results import RESYNTHESIS
from lineup.resynthesis.cascade import PlannedTimes, margin_from_posterior
from lineup.resynthesis.making import ModelSource
from lineup.resynthesis.resynthesizer import Resynthesizer

ALONE = AttributionOptions(evidence=("fingerprint",))
EVERYTHING = ["fingerprint", "resynthesis", "resynthesis-fingerprint"]


class ColourExtractor:
    """The mean colour, normalised, stands for a fingerprint."""

    parts = ()
    name = digest = "colour"
    dimension = 3
    tells_real = False

    def tiles(self, pixels):
        return tiles_from_image(pixels, TileSpec(32, 4))

    def signals_from_tiles(self, tiles):
        means = np.stack([one.reshape(-1, 3).mean(axis=0) for one in tiles]) + 1e-3
        rows = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
        return Signals(rows, np.ones(len(tiles), np.float32))

    def fingerprints(self, images):
        return self.signals_from_tiles([self.tiles(image) for image in images]).fingerprints

    def notes(self, pixels):
        return ()

    def close(self):
        pass


def support(name, colour):
    rows = np.abs(np.array(colour) + np.random.default_rng(1).normal(0, 0.05, (40, 3)))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = tuple(f"{name.encode().hex():0>32}{i:0>32}" for i in range(40))
    return SupportSet(name, SourceRole.CANDIDATE, rows.astype(np.float32), ids)


@pytest.fixture
def engine(toy_generators, toy_captioner, toy_encoder):
    extractor = ColourExtractor()
    sets = [support("reds", (1, 0.1, 0.1)), support("blues", (0.1, 0.1, 1))]
    spec = LineupSpec(
        "toy",
        encoder="e",
        candidates=(CandidateSpec("reds", "r"), CandidateSpec("blues", "b")),
        resynthesis=ResynthesisOptions(gamma=2),
    )
    resynthesizer = Resynthesizer(
        ModelSource.kept(toy_generators, toy_captioner, toy_encoder), fingerprinter=extractor
    )
    gallery = Gallery("colour", {one.name: one for one in sets})
    return Engine(
        extractor,
        lambda: gallery,
        Lineup(spec),
        open_models=lambda: ResynthesisModels(resynthesizer),
    )


def verdict_of(engine, image, options=DEFAULT_OPTIONS):
    return engine.attribute(image, options=options).verdict


def verdicts_of(engine, images, options=DEFAULT_OPTIONS):
    queries = [Query(one) for one in images]
    engine.answer(queries, options)
    return [one.verdict for one in queries]


@pytest.fixture
def images():
    rng = np.random.default_rng(2)
    return [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(4)]


def cascade(**changes):
    return AttributionOptions(cascade=CascadeOptions(**changes))


def essence(verdict):
    """Everything but times."""
    evidence = [(one.name, one.scores, one.llr, one.samples, one.notes) for one in verdict.evidence]
    return verdict.label, verdict.posterior, verdict.caption, verdict.notes, evidence


def names(verdict):
    return [one.name for one in verdict.evidence]


def test_images_together_get_the_verdicts_of_each_alone(engine, images):
    together = verdicts_of(engine, images)
    alone = [verdict_of(engine, one) for one in images]

    assert list(map(essence, together)) == list(map(essence, alone))


def test_tiles_that_are_cut_already_are_used(engine, images):
    query = Query(None, tiles=engine.extractor.tiles(images[0]), tile_notes=("cut before",))
    engine.extractor.tiles = None

    engine.answer([query], ALONE)

    assert names(query.verdict) == ["fingerprint"]
    assert query.verdict.evidence[0].notes == ("cut before",)
    assert query.ms.preprocess is None


def test_a_decided_image_is_not_captioned(engine, toy_captioner, red_pixels):
    verdict = verdict_of(engine, red_pixels, options=cascade(stop_margin=0.01))

    assert names(verdict) == ["fingerprint"]
    assert toy_captioner.calls == 0
    assert "decided by the fingerprint" in verdict.notes[-1]


def test_an_open_image_gets_all_evidence(engine, red_pixels):
    verdict = verdict_of(engine, red_pixels, options=cascade(stop_margin=1.0, floor=0.0))

    assert names(verdict) == EVERYTHING
    assert essence(verdict) == essence(verdict_of(engine, red_pixels))


def test_decided_and_open_images_may_come_together(engine, images, red_pixels):
    queries = [red_pixels, *images]
    margins = sorted(
        margin_from_posterior(verdict_of(engine, one, options=ALONE).posterior) for one in queries
    )
    options = cascade(stop_margin=(margins[0] + margins[-1]) / 2, floor=0.0)

    together = verdicts_of(engine, queries, options)

    alone = [verdict_of(engine, one, options=options) for one in queries]
    assert list(map(essence, together)) == list(map(essence, alone))
    assert {len(one.evidence) for one in together} == {1, 3}


def test_without_a_fingerprint_nothing_is_left_out(engine, red_pixels):
    options = AttributionOptions(evidence=(RESYNTHESIS,), cascade=CascadeOptions(stop_margin=0.01))

    assert names(verdict_of(engine, red_pixels, options=options)) == [RESYNTHESIS]


def test_a_latency_budget_goes_by_the_plan_and_then_by_what_was_measured(
    engine, red_pixels, monkeypatch
):
    planned = PlannedTimes(1e6, {"reds": 1e6, "blues": 1e6}, 1e6)
    monkeypatch.setattr(costs_module, "planned_times", lambda *_: planned)
    short = cascade(stop_margin=None, latency_budget_s=100.0)
    endless = cascade(stop_margin=None, latency_budget_s=1e9)

    before = verdict_of(engine, red_pixels, options=short)
    verdict_of(engine, red_pixels, options=endless)
    after = verdict_of(engine, red_pixels, options=short)

    assert names(before) == ["fingerprint"]
    assert "latency budget is 100000 ms" in before.notes[-1]
    assert names(after) == EVERYTHING


def test_the_run_id_follows_the_cascade(engine):
    ids = {engine.run_id(one) for one in (AttributionOptions(), cascade(), cascade(floor=0.1))}

    assert len(ids) == 3
