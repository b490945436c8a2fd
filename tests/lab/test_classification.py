from __future__ import annotations

import numpy as np
import pytest

from lineup.errors import UsageError
from lineup_lab.classification import (
    checked_unknown,
    classes_from_sources,
    classification_from_sources,
    leave_one_out_from_sources,
)
from lineup_lab.dataset import ProtocolOptions
from lineup_lab.fit_classifier import calibrated_fit, logistic_fit
from lineup_lab.metrics import auc, resampled_oscrs

OPTIONS = ProtocolOptions(resamples=150)
FITS = {"logistic": logistic_fit("d1"), "calibrated": calibrated_fit}


@pytest.fixture
def sources(make_source):
    return [make_source(name, 24, direction=i, noise=2.5) for i, name in enumerate("abcd")]


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_separated_sources_are_all_right(make_source, fit):
    sources = [make_source(name, 20, direction=i, noise=0.2) for i, name in enumerate("abcd")]

    result = classification_from_sources(sources, OPTIONS, fit)

    assert (result.figures.accuracy, result.figures.top3) == (100.0, 100.0)
    assert result.figures.oscr is result.figures.auroc_unknown is None
    assert set(result.intervals) == {"accuracy", "top3"}
    assert result.intervals["accuracy"] == (100.0, 100.0)
    assert result.confusion["b"] == {"a": 0, "b": 10, "c": 0, "d": 0}
    assert result.query_count == 40


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_figures_follow_from_the_definition(sources, fit):
    calls = []

    def recording(supports):
        classify = fit(supports)

        def answer(rows):
            calls.append((rows, classify(rows)))
            return calls[-1][1]

        calls.append(sorted(supports))
        return answer

    result = classification_from_sources(sources, OPTIONS, recording, unknown=["c"])

    assert calls[0] == ["a", "b", "d"]
    probabilities = dict(zip("abcd", [call[1] for call in calls[1:]], strict=True))
    known = np.concatenate([probabilities[name] for name in "abd"])
    truth = np.repeat([0, 1, 2], 12)
    correct = known.argmax(axis=1) == truth
    unknown = probabilities["c"].max(axis=1)
    assert result.figures.accuracy == pytest.approx(100 * correct.mean())
    assert result.figures.top3 == 100.0
    once = np.ones((1, 36), np.int64), np.ones((1, 12), np.int64)
    oscr = resampled_oscrs(known.max(axis=1), correct, unknown, *once)[0]
    assert result.figures.oscr == pytest.approx(100 * oscr)
    assert result.figures.auroc_unknown == pytest.approx(100 * auc(known.max(axis=1), unknown))
    assert result.per_source["c"].figures.oscr == result.figures.oscr
    assert not result.per_source["c"].known
    assert result.per_source["a"].figures.accuracy == pytest.approx(100 * correct[:12].mean())
    for key, (low, high) in result.intervals.items():
        assert low <= getattr(result.figures, key) <= high


def test_support_and_queries_are_disjoint(sources):
    seen = {}

    def fit(supports):
        seen["support"] = np.concatenate(list(supports.values()))
        seen["queries"] = []

        def answer(rows):
            seen["queries"].append(rows)
            return np.full((len(rows), len(supports)), 1 / len(supports))

        return answer

    classification_from_sources(sources, OPTIONS, fit, unknown=["d"])

    support = {row.tobytes() for row in seen["support"]}
    queries = {row.tobytes() for row in np.concatenate(seen["queries"])}
    unknown = {row.tobytes() for row in sources[3].fingerprints}
    assert len(support) == 36
    assert len(queries) == 48
    assert not support & (queries | unknown)


def test_ties_are_counted_as_half(sources):
    def fit(supports):
        return lambda rows: np.full((len(rows), len(supports)), 1 / len(supports))

    result = classification_from_sources(sources, OPTIONS, fit, unknown=["d"])

    assert result.figures.accuracy == pytest.approx(100 / 3)  # all go to the first class
    assert result.figures.auroc_unknown == 50.0
    assert result.figures.oscr == pytest.approx(50 / 3)


def test_top3_takes_equal_columns_in_order(make_source):
    sources = [make_source(name, 4) for name in "abcde"]

    def fit(supports):
        return lambda rows: np.full((len(rows), 5), 0.2)

    result = classification_from_sources(sources, OPTIONS, fit)

    assert result.figures.top3 == pytest.approx(60.0)


def test_photographs_are_one_known_class(make_source):
    sources = [
        make_source(name, 20, direction=i, noise=0.3)
        for i, name in enumerate(["a", "b", "camera", "web"])
    ]
    options = ProtocolOptions(real=("camera", "web"), resamples=100)

    result = classification_from_sources(sources, options, logistic_fit("d1"))

    assert list(result.confusion["web"]) == ["a", "b", "real"]
    assert result.confusion["web"]["real"] == 10
    assert result.figures.accuracy == 100.0
    classes = classes_from_sources({one.name: one.fingerprints for one in sources}, options.real)
    assert {name: len(rows) for name, rows in classes.items()} == {"a": 20, "b": 20, "real": 40}


def test_every_generator_is_left_out_in_turn_and_photographs_never(sources):
    options = ProtocolOptions(real=("d",), resamples=100)

    result = leave_one_out_from_sources(sources, options, logistic_fit("d1"))

    assert list(result.rounds) == ["a", "b", "c"]
    alone = classification_from_sources(sources, options, logistic_fit("d1"), unknown=["b"])
    assert result.rounds["b"].figures == alone.figures
    assert result.per_source["b"].figures == alone.figures
    assert result.per_source["d"].known
    assert result.per_source["d"].figures.oscr is None
    for key in ("accuracy", "top3", "oscr", "auroc_unknown"):
        rounds = [getattr(one.figures, key) for one in result.rounds.values()]
        assert getattr(result.figures, key) == pytest.approx(np.mean(rounds))
        low, high = result.intervals[key]
        assert low <= getattr(result.figures, key) <= high
    assert sum(result.confusion["d"].values()) == 3 * 12
    assert result.query_count == 48


def test_reject_class_lowers_what_strangers_get(make_source):
    sources = [make_source(name, 30, direction=i, noise=2) for i, name in enumerate("abcd")]
    reject = make_source("simulated", 60, direction=3, noise=2).fingerprints

    plain = classification_from_sources(sources, OPTIONS, logistic_fit("d1"), unknown=["d"])
    wary = classification_from_sources(
        sources, OPTIONS, logistic_fit("d1", reject=reject), unknown=["d"]
    )

    assert list(wary.confusion["a"]) == ["a", "b", "c"]
    assert wary.figures.oscr > plain.figures.oscr


def test_same_seed_same_result(sources):
    first, again, other = (
        classification_from_sources(
            sources, ProtocolOptions(seed=seed, resamples=100), calibrated_fit, unknown=["a"]
        )
        for seed in (0, 0, 1)
    )

    assert (first.figures, first.intervals) == (again.figures, again.intervals)
    assert first.intervals != other.intervals


@pytest.mark.parametrize(
    ("unknown", "real", "message"),
    [
        (["x"], [], "--unknown 'x' is not among the sources"),
        ([], ["x"], "--real 'x' is not among the sources"),
        (["a"], ["a"], "both --unknown and --real"),
        (["a", "b"], [], r"1 known class\(es\) are left"),
        ([], ["a", "b", "c"], r"1 known class\(es\) are left"),
    ],
)
def test_names_that_do_not_fit_are_refused(unknown, real, message):
    with pytest.raises(UsageError, match=message):
        checked_unknown(["a", "b", "c"], unknown, real)
