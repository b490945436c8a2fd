import math

import numpy as np
import pytest

from lineup.errors import UsageError
from lineup.options import Aggregate, Mode, ResynthesisOptions
from lineup.results import GENERATED, PHOTOGRAPH, UNDETERMINED, Evidence, Verdict
from lineup_lab.attribution import (
    Judge,
    Judged,
    figures_from_judged,
    figures_of_source,
    intervals_from_judged,
    judged,
    roles_from_sources,
)
from lineup_lab.scores import RawScores

NAMES = ("a", "b")


def verdict(a, b, generated, photograph=0.0):
    # Figures follow from the posterior alone.
    return Verdict(UNDETERMINED, {"a": a, "b": b, GENERATED: generated, PHOTOGRAPH: photograph})


def options_of(settings):
    return {"resynthesis": {"gamma": settings.gamma}}


def judge(**changes):
    settings = {
        "candidates": NAMES,
        "settings": ResynthesisOptions(gamma=3),
        "evidence_options": options_of,
    }
    return Judge(**(settings | changes))


def row(source, *evidence):
    return RawScores(path=f"{source}.png", source=source, run="r", sha256=source, evidence=evidence)


ANSWERS = Judged(
    NAMES,
    {"a": "a", "b": "b", "elm": GENERATED, "real": PHOTOGRAPH},
    {
        "a": [verdict(0.8, 0.1, 0.1), verdict(0.2, 0.5, 0.3)],
        "b": [verdict(0.1, 0.6, 0.2, 0.1), verdict(0.1, 0.3, 0.3, 0.3)],
        "elm": [verdict(0.55, 0.05, 0.4)],
        "real": [verdict(0.1, 0.1, 0.3, 0.5)],
    },
)


def test_figures_are_those_counted_by_hand():
    figures = figures_from_judged(ANSWERS)

    # Right among the candidates: a, not a, b, b. Best posteriors 0.8, 0.5, 0.6, 0.3 against
    # 0.55 and 0.1 of the others.
    assert figures.accuracy == 75.0
    assert figures.top3 == 100.0
    assert figures.auroc_unknown == pytest.approx(100 * 6 / 8)
    assert figures.oscr == pytest.approx(100 * (2 + 0 + 2 + 1) / 8)
    # Answers: a 0.8 right, b 0.5 wrong; b 0.6 right, none 0.6 wrong; a 0.55 wrong; none 0.8 right.
    # Weights: a and b a sixth each (two queries), elm and real a third. Of the bins, 0.8
    # and 0.6 and 0.55 hold: 0.8 (a), 0.8 (real); 0.6 (b, b), 0.55 (elm) in (8/15, 9/15]; 0.5 (a).
    gap_high = 0.2 / 12 + 0.2 / 3
    gap_mid = abs(0.4 / 12 - 0.6 / 12 - 0.55 / 3)
    gap_low = 0.5 / 12
    assert figures.ece == pytest.approx(gap_high + gap_mid + gap_low)
    losses = [
        (0.8, 1 / 12),
        (0.2, 1 / 12),
        (0.6, 1 / 12),
        (0.3, 1 / 12),
        (0.4, 1 / 3),
        (0.8, 1 / 3),
    ]
    assert figures.nll == pytest.approx(-sum(weight * math.log(p) for p, weight in losses))


def test_a_source_has_its_own_part():
    known, unknown = (figures_of_source(ANSWERS, name) for name in ("a", "elm"))

    assert (known.accuracy, known.oscr) == (50.0, None)
    assert unknown.accuracy is None
    assert unknown.auroc_unknown == pytest.approx(100 * 2 / 4)


def test_intervals_hold_the_figures_and_repeat():
    first, again = (intervals_from_judged(ANSWERS, resamples=200, seed=3) for _ in range(2))
    figures = figures_from_judged(ANSWERS)

    assert first == again
    for name in ("accuracy", "top3", "oscr", "auroc_unknown"):
        low, high = first[name]
        assert low <= getattr(figures, name) <= high
    assert first["ece"][0] < first["ece"][1]


def test_fewer_resyntheses_are_the_first_ones_of_every_candidate():
    samples = {"a": (0.1, 0.9, 0.4), "b": (0.5, 0.6)}  # b has fewer, made elsewhere
    clip = Evidence("resynthesis", {"a": 0.9, "b": 0.6}, {}, 30.0, samples=samples)
    marks = Evidence("resynthesis-fingerprint", {"a": 0.5, "b": 0.5}, {}, 3.0, samples=samples)
    own = Evidence("fingerprint", {"a": 0.2}, {"a": 1.0}, 1.0)
    one = row("a", clip, marks, own)

    fewer = {one.name: one for one in judge().evidence(one, 1)}
    mean = judge(settings=ResynthesisOptions(gamma=3, aggregate=Aggregate.MEAN))

    assert fewer["resynthesis"].scores == {"a": 0.1, "b": 0.5}
    assert fewer["resynthesis-fingerprint"].scores == {"a": 0.1, "b": 0.5}
    assert fewer["fingerprint"] is own
    assert mean.evidence(one, 2)[0].scores == pytest.approx({"a": 0.5, "b": 0.55})
    assert judge().evidence(one, 3) == one.evidence


def test_verdicts_use_the_evidences_asked_for():
    strong = Evidence("fingerprint", {"a": 1.0}, {"a": 9.0}, 1.0)
    other = Evidence("reference", {"b": 1.0}, {"b": 20.0}, 1.0)
    rows = [row("a", strong, other)]

    def label(names):
        return judged(rows, {"a": "a"}, judge(), names=names).verdicts["a"][0].label

    assert (label(None), label(["fingerprint"]), label(["reference"])) == ("b", "a", "b")


def test_the_papers_have_no_rejection():
    closeness = Evidence("resynthesis", {"a": -1.0, "b": -0.5}, {}, 1.0)
    published = judge(settings=ResynthesisOptions(mode=Mode.RESYNTHESIS))

    answer = published.verdict(row("a", closeness))

    assert answer.label == "b"
    assert answer.posterior[GENERATED] == 0
    assert answer.posterior["b"] == pytest.approx(1 / (1 + np.exp(-0.5)))


def test_roles_are_those_of_the_names():
    sources = ["a", "elm", "photos", "real"]

    roles = roles_from_sources(sources, NAMES, ["elm"], ["photos"])

    assert roles == {"a": "a", "elm": GENERATED, "photos": PHOTOGRAPH, "real": PHOTOGRAPH}
    assert roles_from_sources(["a", "real"], NAMES, ["real"], [])["real"] == GENERATED


@pytest.mark.parametrize(
    ("sources", "unknown", "real", "problem"),
    [
        (["a", "elm"], [], [], "'elm' is none of the lineup's candidates"),
        (["a", "elm"], ["fir"], [], "--unknown 'fir' is not among the sources"),
        (["a", "elm"], ["elm"], ["fir"], "--real 'fir' is not among the sources"),
        (["a", "elm"], ["a", "elm"], [], "'a' is a and generated"),
        (["elm", "real"], ["elm"], [], "nothing to attribute"),
    ],
)
def test_roles_that_make_no_sense_are_refused(sources, unknown, real, problem):
    with pytest.raises(UsageError, match=problem):
        roles_from_sources(sources, NAMES, unknown, real)
