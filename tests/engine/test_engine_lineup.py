"""Attribution by a lineup, with toy models: which evidence runs, and what becomes of it."""

import os
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

import lineup
from lineup.engine import Engine, open_engine
from lineup.errors import BundleNotFoundError, ResynthesisError, UsageError
from lineup.fingerprint import Signals
from lineup.gallery.gallery import Gallery
from lineup.gallery.support import SourceRole, SupportSet
from lineup.imaging.tiles import TileSpec, tiles_from_image
from lineup.lineups.models import ResynthesisModels
from lineup.lineups.spec import CandidateSpec, LineupSpec
from lineup.lineups.store import Lineup
from lineup.options import AttributionOptions, Mode, ResynthesisOptions, options_from_mode
from lineup.paths import shipped_dir
from lineup.results import (
    FINGERPRINT,
    RESYNTHESIS,
    RESYNTHESIS_EVIDENCE,
    RESYNTHESIS_FINGERPRINT,
)
from lineup.resynthesis.making import ModelSource
from lineup.resynthesis.resynthesizer import Resynthesizer
from lineup.stored.asking import AskedCandidate
from lineup.stored.captions import CaptionRow
from lineup.stored.store import StoredResyntheses

SAMPLE = shipped_dir() / "samples" / "nearest-0.png"


class ColourExtractor:
    """The mean colour, normalised, stands for a fingerprint."""

    parts = ()
    name = digest = "colour"
    dimension = 3
    tells_real = False
    real_llrs = None

    def __init__(self):
        self.closed = False
        self.images = 0

    def tiles(self, pixels):
        return tiles_from_image(pixels, TileSpec(32, 4))

    def fingerprints_from_tiles(self, tiles):
        self.images += len(tiles)
        means = np.stack([one.reshape(-1, 3).mean(axis=0) for one in tiles]) + 1e-3
        return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)

    def signals_from_tiles(self, tiles):
        strengths = np.ones(len(tiles), np.float32)
        return Signals(self.fingerprints_from_tiles(tiles), strengths, self.real_llrs)

    def fingerprints(self, images):
        return self.fingerprints_from_tiles([self.tiles(image) for image in images])

    def notes(self, pixels):
        return ("toy",)

    def close(self):
        self.closed = True


def support(name, colour):
    rows = np.abs(np.array(colour) + np.random.default_rng(1).normal(0, 0.05, (9, 3)))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = tuple(f"{name.encode().hex():0>32}{i:0>32}" for i in range(9))
    return SupportSet(name, SourceRole.CANDIDATE, rows.astype(np.float32), ids)


@pytest.fixture
def extractor():
    return ColourExtractor()


@pytest.fixture
def make(toy_generators, toy_captioner, toy_encoder, extractor, tmp_path):
    gallery = Gallery("colour", {one.name: one for one in (support("greens", (0, 1, 0)),)})
    spec = LineupSpec(
        "toy",
        encoder="e",
        candidates=(CandidateSpec("reds", "r"), CandidateSpec("blues", "b")),
        resynthesis=ResynthesisOptions(gamma=2),
    )

    def build(generators=toy_generators, spec=spec, asked=()):
        models = ModelSource.kept(generators, toy_captioner, toy_encoder)
        resynthesizer = Resynthesizer(models, fingerprinter=extractor, asked=asked)
        families = {name: one.vae_family for name, one in generators.items()}
        digests = tuple(one.digest for one in generators.values())
        return Engine(
            extractor,
            lambda: gallery,
            Lineup(spec),
            open_models=lambda: ResynthesisModels(
                resynthesizer, families=families, digests=digests
            ),
            stored=StoredResyntheses(tmp_path / "stored"),
        )

    return build


def names(verdict):
    return [one.name for one in verdict.evidence]


def nearest(verdict):
    """The candidate that uncalibrated evidence ranks first."""
    return max(
        set(verdict.posterior) - {"generated", "photograph"}, key=verdict.posterior.__getitem__
    )


def test_all_evidence_runs_and_the_right_candidate_comes_first(make, red_pixels):
    verdict = make().attribute(red_pixels).verdict

    assert names(verdict) == [FINGERPRINT, *RESYNTHESIS_EVIDENCE]
    assert nearest(verdict) == "reds"
    assert verdict.caption == "a plain colour"
    assert set(verdict.posterior) == {"reds", "blues", "greens", "generated", "photograph"}
    assert sum(verdict.posterior.values()) == pytest.approx(1)


def test_the_query_is_fingerprinted_once(make, extractor, red_pixels):
    make().attribute(red_pixels)

    assert extractor.images == 1 + 2 * 2


def test_candidates_are_those_of_the_lineup_and_of_the_gallery(make):
    assert make().candidates == ("reds", "blues", "greens")


@pytest.mark.parametrize(
    "evidence",
    [("fingerprint",), (RESYNTHESIS,), (RESYNTHESIS_FINGERPRINT,), ("fingerprint", RESYNTHESIS)],
)
def test_only_what_was_asked_for_runs(make, toy_encoder, red_pixels, evidence):
    verdict = make().attribute(red_pixels, options=AttributionOptions(evidence=evidence)).verdict

    assert tuple(names(verdict)) == evidence
    assert bool(toy_encoder.calls) == (RESYNTHESIS in evidence)


def test_evidence_that_does_not_exist_is_named():
    with pytest.raises(UsageError, match="'aura'"):
        AttributionOptions(evidence=("fingerprint", "aura"))


def test_evidence_that_the_lineup_lacks_is_named(make, red_pixels):
    engine = make(generators={}, spec=LineupSpec("toy", encoder="e"))

    assert engine.evidence == ("fingerprint",)
    with pytest.raises(UsageError, match="'toy' does not give the evidence resynthesis"):
        engine.attribute(red_pixels, options=AttributionOptions(evidence=(RESYNTHESIS,)))


def test_a_gallery_alone_has_no_families_and_says_that_it_resynthesises_nothing():
    options = AttributionOptions(evidence=(RESYNTHESIS,))
    with lineup.open(device="cpu") as engine:
        assert engine.families == {}
        assert engine.evidence_options(ResynthesisOptions()) == {"fingerprint": {}}
        with pytest.raises(UsageError, match="'gallery' has no models that resynthesise"):
            next(engine.scan([], options=options))


@pytest.mark.parametrize("mode", [Mode.RESYNTHESIS, Mode.REGENERATION])
def test_a_papers_verdict_is_the_closest_candidate(make, red_pixels, mode):
    settings = options_from_mode(mode, ResynthesisOptions(gamma=2), {})

    verdict = make().attribute(red_pixels, options=AttributionOptions(resynthesis=settings)).verdict

    scores = verdict.evidence[0].scores
    assert names(verdict) == [RESYNTHESIS]
    assert verdict.label == max(scores, key=scores.get)
    assert verdict.posterior["reds"] / verdict.posterior["blues"] == pytest.approx(
        np.exp(scores["reds"] - scores["blues"])
    )
    assert verdict.posterior["generated"] == verdict.posterior["greens"] == 0
    assert mode.value in verdict.notes[0]


def bought(tmp_path, query, caption="a plain colour", count=2):
    """Pictures of a red query that "bought" made elsewhere, in the store of `make`."""
    paths = []
    for seed in range(count):
        pixels = np.clip(query.astype(int) + seed - 1, 0, 255).astype(np.uint8)
        paths.append(tmp_path / f"{caption}-{seed}.png")
        paths[-1].write_bytes(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes())
    row = CaptionRow(
        sha256=lineup.read_image(query).sha256,
        caption=caption,
        seeds=tuple(range(count)),
        pictures=tuple(map(str, range(count))),
        width_px=32,
        height_px=32,
    )
    StoredResyntheses(tmp_path / "stored").add("bought", row, paths)


BOUGHT = CandidateSpec("bought", stored=True)
WITH_BOUGHT = LineupSpec(
    "toy",
    encoder="e",
    candidates=(CandidateSpec("reds", "r"), CandidateSpec("blues", "b"), BOUGHT),
    resynthesis=ResynthesisOptions(gamma=2),
)
BOUGHT_ALONE = replace(WITH_BOUGHT, candidates=(BOUGHT,))


def test_resyntheses_made_elsewhere_count_for_their_query_alone(make, red_pixels, tmp_path):
    bought(tmp_path, red_pixels)
    engine = make(spec=WITH_BOUGHT)

    with_it = engine.attribute(red_pixels)
    without = engine.attribute(255 - red_pixels)

    assert with_it.resyntheses is not None
    assert nearest(with_it.verdict) == "bought"
    assert with_it.resyntheses.stored == {"bought": "a plain colour"}
    assert without.resyntheses is not None
    assert "bought" not in without.resyntheses.images
    assert "no stored resyntheses of this image by bought" in without.verdict.notes
    assert "resynthesis.score.bought" in engine.columns()


def test_a_lineup_that_does_not_list_their_maker_leaves_them_out(make, red_pixels, tmp_path):
    bought(tmp_path, red_pixels)

    assert "bought" not in make().attribute(red_pixels).verdict.posterior


@pytest.mark.parametrize("mode", [None, "resynthesis", "regeneration"])
def test_resyntheses_made_elsewhere_need_no_generator(
    make, red_pixels, tmp_path, toy_captioner, mode
):
    bought(tmp_path, red_pixels)
    settings = ResynthesisOptions() if mode is None else ResynthesisOptions(mode=Mode(mode))
    options = AttributionOptions(resynthesis=settings)
    engine = make(generators={}, spec=BOUGHT_ALONE)

    verdict = engine.attribute(red_pixels, options=options).verdict
    nothing = engine.attribute(255 - red_pixels, options=options).verdict

    assert RESYNTHESIS in names(verdict)
    assert verdict.caption == "a plain colour"
    assert toy_captioner.calls == 0
    assert RESYNTHESIS not in names(nothing)
    assert nothing.label == "undetermined"
    likeliest = max(nothing.posterior, key=nothing.posterior.__getitem__)
    assert (likeliest == "greens") is (mode is None)  # by the gallery, which a published mode lacks


def test_as_many_count_as_a_candidate_makes_here(make, red_pixels, tmp_path):
    bought(tmp_path, red_pixels, count=3)

    made = make(spec=WITH_BOUGHT).attribute(red_pixels).resyntheses

    assert {name: len(images) for name, images in made.images.items()} == {
        "reds": 2,
        "blues": 2,
        "bought": 2,
    }


def test_those_of_the_same_caption_count_before_later_ones(make, red_pixels, tmp_path):
    bought(tmp_path, red_pixels)
    bought(tmp_path, red_pixels, caption="something else")

    live = make(spec=WITH_BOUGHT).attribute(red_pixels)
    alone = make(generators={}, spec=BOUGHT_ALONE)
    asked = AttributionOptions(resynthesis=ResynthesisOptions(prompt="a plain colour"))

    assert live.resyntheses.stored == {"bought": "a plain colour"}
    assert alone.attribute(red_pixels).verdict.caption == "something else"
    assert alone.attribute(red_pixels, options=asked).verdict.caption == "a plain colour"


def test_a_spoilt_picture_fails_its_own_image_and_is_named(make, red_pixels, tmp_path):
    bought(tmp_path, red_pixels)
    picture = next((tmp_path / "stored").rglob("*.png"))
    data = bytearray(picture.read_bytes())
    picture.write_bytes(data[:100])

    with pytest.raises(ResynthesisError, match=picture.name):
        make(spec=WITH_BOUGHT).attribute(red_pixels)


def test_a_command_that_fails_fails_the_row_alone_and_is_named(make, red_pixels, tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for seed, path in enumerate(paths):
        path.write_bytes(cv2.imencode(".png", red_pixels - seed * red_pixels // 9)[1].tobytes())
    store = StoredResyntheses(tmp_path / "stored")
    api = AskedCandidate("bought", "no-such-program", 9.0, None, store)
    engine = make(
        spec=replace(WITH_BOUGHT, candidates=(CandidateSpec("bought", command="no-such-program"),)),
        asked=[api],
    )

    rows = list(engine.scan(paths))  # all of them: an API that is down ends no scan

    assert [row.verdict for row in rows] == [None, None]
    assert all("bought: the command 'no-such-program'" in row.error.message for row in rows)


def test_what_a_user_adds_is_another_question(make, red_pixels, tmp_path):
    engine = make(spec=WITH_BOUGHT)
    before = engine.run_id()
    StoredResyntheses(tmp_path / "stored").changed()

    assert engine.run_id() != before


def test_times_add_up(make, red_pixels):
    answer = make().attribute(red_pixels)

    costs = sum(one.cost_ms for one in answer.verdict.evidence)
    assert 0 < costs <= answer.ms.preprocess + answer.ms.inference


def test_the_run_id_follows_the_question_and_the_models(make, make_toy_generator):
    engine = make()
    other = make(generators={"reds": make_toy_generator("another", (1, 1, 1))})
    fingerprint = AttributionOptions(evidence=("fingerprint",))
    seeded = AttributionOptions(resynthesis=ResynthesisOptions(seed=9))

    ids = [
        engine.run_id(),
        engine.run_id(fingerprint),
        engine.run_id(seeded),
        other.run_id(),
    ]

    assert len(set(ids)) == 4
    assert other.run_id(fingerprint) == engine.run_id(fingerprint)


def test_closing_closes_everything(make, extractor):
    with make():
        pass

    assert extractor.closed


def test_without_a_lineup_the_gallery_answers():
    with open_engine(device="cpu", threads=1) as engine:
        verdict = engine.attribute(SAMPLE).verdict

    assert names(verdict) == ["fingerprint", "photograph"]
    assert verdict.caption is None


def test_models_of_resynthesis_are_not_loaded_for_fingerprints():
    spec = LineupSpec("toy", encoder="nowhere", candidates=(CandidateSpec("a", "no"),))

    with open_engine(Lineup(spec), device="cpu", threads=1) as engine:
        alone = engine.attribute(SAMPLE, options=AttributionOptions(evidence=("fingerprint",)))
        with pytest.raises(BundleNotFoundError, match="nowhere"):
            engine.attribute(SAMPLE)

    assert names(alone.verdict) == ["fingerprint", "photograph"]


def test_a_fingerprint_verdict_imports_no_captioner_and_no_generator():
    code = (
        "import sys, lineup\n"
        f"lineup.open(device='cpu', threads=1).attribute({str(SAMPLE)!r})\n"
        "heavy = ['lineup.models.captioner', 'lineup.models.encoder', 'lineup.models.generator',\n"
        "         'lineup.scan.pipeline', 'tokenizers', 'PIL.ImageDraw', 'rich', 'click']\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True
    )

    assert result.stdout.strip() == "[]"
