import numpy as np
import pytest

from lineup.errors import UsageError
from lineup.options import (
    Aggregate,
    Distance,
    Mode,
    ResynthesisOptions,
    options_from_mode,
)
from lineup.query import Query
from lineup.resynthesis.cache import ResultCache
from lineup.resynthesis.making import ModelSource
from lineup.resynthesis.resynthesizer import (
    RESYNTHESIS,
    RESYNTHESIS_FINGERPRINT,
    Resynthesizer,
)
from lineup.stored.store import StoredSet

OPTIONS = ResynthesisOptions(gamma=3, seed=7)


class ToyFingerprinter:
    digest = "toy-fingerprint"

    def __init__(self):
        self.calls = []

    def fingerprints(self, images):
        self.calls.append(len(images))
        rows = np.stack([image[0, :4].reshape(-1) for image in images]).astype(np.float32) + 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def fingerprinter():
    return ToyFingerprinter()


@pytest.fixture
def make(toy_generators, toy_captioner, toy_encoder, fingerprinter):
    def build(cache=None, captioner=toy_captioner):
        models = ModelSource.kept(toy_generators, captioner, toy_encoder)
        return Resynthesizer(models, fingerprinter=fingerprinter, cache=cache)

    return build


def resynthesised(resynthesizer, pixels, options, fingerprint=None, stored=None, **wanted):
    query = Query(pixels, fingerprint=fingerprint, stored=stored or {})
    return resynthesizer.resyntheses([query], options, **wanted)[0]


def by_name(resynthesis):
    return {one.name: one for one in resynthesis.evidence}


def test_the_generator_that_made_a_query_comes_closest(make, toy_generators, red_pixels):
    resynthesis = resynthesised(make(), red_pixels, OPTIONS)

    assert resynthesis.caption == "a plain colour"
    for evidence in resynthesis.evidence:
        assert evidence.scores["reds"] > evidence.scores["blues"]
        assert evidence.llr == {}
        assert len(evidence.samples["reds"]) == 3
    assert toy_generators["reds"].seeds == [7, 8, 9]
    assert [one.name for one in resynthesis.evidence] == [RESYNTHESIS, RESYNTHESIS_FINGERPRINT]


@pytest.mark.parametrize(
    ("aggregate", "rule"),
    [
        (Aggregate.MAX, max),
        (Aggregate.MEAN, np.mean),
    ],
)
def test_scores_sum_up_the_samples(make, red_pixels, aggregate, rule):
    options = ResynthesisOptions(gamma=4, aggregate=aggregate)

    evidence = by_name(resynthesised(make(), red_pixels, options))

    clip, fingerprint = evidence[RESYNTHESIS], evidence[RESYNTHESIS_FINGERPRINT]
    assert clip.scores["reds"] == pytest.approx(rule(clip.samples["reds"]))
    assert fingerprint.scores["reds"] == pytest.approx(np.mean(fingerprint.samples["reds"]))


def test_the_best_image_is_the_closest(make, red_pixels):
    resynthesis = resynthesised(make(), red_pixels, OPTIONS)

    samples = by_name(resynthesis)[RESYNTHESIS].samples["blues"]
    expected = resynthesis.images["blues"][int(np.argmax(samples))]
    assert resynthesis.best_image("blues") is expected


def test_caption_text_and_features_are_computed_once(
    make, toy_generators, toy_captioner, toy_encoder, fingerprinter, red_pixels
):
    trace = resynthesised(make(), red_pixels, OPTIONS).trace

    assert toy_captioner.calls == 1
    assert toy_encoder.calls == [(7, 2)]  # the query and two times three pictures
    assert fingerprinter.calls == [7]
    assert [one.trace.stage("text_encoder").calls for one in toy_generators.values()] == [1, 0]
    assert {name: (one.calls, one.items) for name, one in trace.stages.items()} == {
        "caption": (1, 1),
        "text encoder": (1, 1),
        "generate": (2, 6),
        "encoder": (1, 7),
        "fingerprint": (1, 7),
    }
    assert {name: one.calls for name, one in trace.graphs.items()} == {
        "text_encoder": 1,
        "unet": 2,
        "vae_decoder": 2,
    }
    assert trace.seconds >= sum(one.seconds for one in trace.stages.values())


def test_other_text_encoders_are_run_themselves(make, toy_generators, red_pixels):
    toy_generators["blues"].text_digest = "another"

    trace = resynthesised(make(), red_pixels, OPTIONS).trace

    assert trace.stage("text encoder").calls == 2


def test_a_known_fingerprint_is_not_computed_again(make, fingerprinter, red_pixels):
    known = ToyFingerprinter().fingerprints([red_pixels])[0]

    evidence = by_name(resynthesised(make(), red_pixels, OPTIONS, fingerprint=known))
    unknown = by_name(resynthesised(make(), red_pixels, OPTIONS))

    assert fingerprinter.calls == [6, 7]
    name = RESYNTHESIS_FINGERPRINT
    assert evidence[name].scores == pytest.approx(unknown[name].scores)


def test_a_second_time_everything_comes_from_the_cache(
    make, toy_generators, toy_encoder, tmp_path, red_pixels
):
    first = resynthesised(make(cache=ResultCache(tmp_path)), red_pixels, OPTIONS)
    drawn = sum(len(one.seeds) for one in toy_generators.values())

    again = resynthesised(make(cache=ResultCache(tmp_path)), red_pixels, OPTIONS)

    assert sum(len(one.seeds) for one in toy_generators.values()) == drawn
    assert toy_encoder.calls[-1] == (1, 2)  # the query alone
    assert again.trace.stage("generate").cached == 6
    assert again.trace.stage("text encoder").calls == 0
    assert by_name(again)[RESYNTHESIS].scores == by_name(first)[RESYNTHESIS].scores
    assert all(
        np.array_equal(one, other)
        for one, other in zip(again.images["reds"], first.images["reds"], strict=True)
    )


def test_more_resyntheses_are_added_to_those_in_the_cache(
    make, toy_generators, tmp_path, red_pixels
):
    cache = ResultCache(tmp_path)
    resynthesised(make(cache=cache), red_pixels, ResynthesisOptions(gamma=2))

    resynthesised(make(cache=cache), red_pixels, ResynthesisOptions(gamma=4))

    assert toy_generators["reds"].seeds == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "change", [{"prompt": "something else"}, {"encoder_layer": 1}, {"seed": 100}]
)
def test_the_cache_tells_questions_apart(make, toy_encoder, tmp_path, red_pixels, change):
    cache = ResultCache(tmp_path)
    resynthesised(make(cache=cache), red_pixels, ResynthesisOptions(gamma=2))

    resynthesised(make(cache=cache), red_pixels, ResynthesisOptions(gamma=2, **change))

    assert toy_encoder.calls[-1][0] == 5


def test_a_known_prompt_needs_no_captioner(make, red_pixels):
    options = ResynthesisOptions(gamma=1, prompt="a red square")

    resynthesis = resynthesised(make(captioner=None), red_pixels, options)

    assert resynthesis.caption == "a red square"
    assert resynthesis.trace.stage("caption").calls == 0


def test_without_captioner_and_prompt_the_user_is_told(make, red_pixels):
    with pytest.raises(UsageError, match="prompt") as raised:
        resynthesised(make(captioner=None), red_pixels, OPTIONS)

    assert "--prompt" in raised.value.hint


def test_signals_that_are_not_wanted_cost_nothing(make, toy_encoder, red_pixels):
    resynthesis = resynthesised(make(), red_pixels, OPTIONS, signals=[RESYNTHESIS_FINGERPRINT])

    assert toy_encoder.calls == []
    assert [one.name for one in resynthesis.evidence] == [RESYNTHESIS_FINGERPRINT]
    assert resynthesis.best["reds"] in range(3)


@pytest.mark.parametrize("distance", list(Distance))
def test_every_distance_gives_scores(make, toy_encoder, red_pixels, distance):
    resynthesis = resynthesised(make(), red_pixels, ResynthesisOptions(gamma=2, distance=distance))

    scores = by_name(resynthesis)[RESYNTHESIS].scores
    assert np.isfinite(list(scores.values())).all()
    assert bool(toy_encoder.calls) == (distance is not Distance.SSIM)


def test_hybrid_is_the_mean_of_cosine_and_structural_similarity(make, red_pixels):
    values = {
        distance: resynthesised(make(), red_pixels, ResynthesisOptions(gamma=1, distance=distance))
        .evidence[0]
        .scores["reds"]
        for distance in (Distance.COSINE, Distance.SSIM, Distance.HYBRID)
    }

    assert values[Distance.HYBRID] == pytest.approx(
        (values[Distance.COSINE] + values[Distance.SSIM]) / 2
    )


def test_the_papers_compare_final_embeddings_without_fingerprints(
    make, toy_generators, toy_encoder, red_pixels
):
    options = options_from_mode(Mode.RESYNTHESIS, ResynthesisOptions(), {})

    resynthesis = resynthesised(make(), red_pixels, options)

    assert toy_generators["reds"].seeds == [0]
    assert toy_encoder.calls == [(3, "final")]
    assert [one.name for one in resynthesis.evidence] == [RESYNTHESIS]


def test_stored_resyntheses_join_with_a_candidate_of_their_own(make, red_pixels, red_image):
    stored = {"bought": [StoredSet("bought", "something red", (red_image,))]}

    resynthesis = resynthesised(make(), red_pixels, OPTIONS, stored=stored)

    assert by_name(resynthesis)[RESYNTHESIS].scores["bought"] == pytest.approx(1)
    assert set(resynthesis.images) == {"reds", "blues", "bought"}


def test_stored_resyntheses_alone_need_no_captioner(toy_encoder, red_pixels, red_image):
    stored = {"bought": [StoredSet("bought", "something red", (red_image,))]}

    resynthesis = resynthesised(
        Resynthesizer(ModelSource.kept({}, encoder=toy_encoder)), red_pixels, OPTIONS, stored=stored
    )

    assert resynthesis.caption == "something red"
    assert list(resynthesis.images) == ["bought"]


def test_a_lineup_without_generators_says_so(toy_encoder, red_pixels):
    with pytest.raises(UsageError, match="resynthesis"):
        resynthesised(Resynthesizer(ModelSource.kept({}, encoder=toy_encoder)), red_pixels, OPTIONS)
