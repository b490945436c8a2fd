from __future__ import annotations

import time

import numpy as np
import pytest

from lineup.errors import UsageError
from lineup_lab.dataset import LabelledSource, ProtocolOptions
from lineup_lab.metrics import auc
from lineup_lab.verification import (
    ScoreRule,
    bootstrap_means,
    targets_from_names,
    verification_from_sources,
)


def test_separated_sources_stand_at_100(make_source):
    sources = [make_source(name, 20, direction=i, noise=0.1) for i, name in enumerate("abc")]

    result = verification_from_sources(sources, ProtocolOptions(resamples=100))

    assert result.auc_mean == 100.0
    assert result.auc_ci == (100.0, 100.0)
    assert all(target["auc_sd"] == 0.0 for target in result.targets.values())


def test_sources_without_a_fingerprint_stand_at_chance(make_source):
    sources = [make_source(name, 200) for name in "abcd"]

    result = verification_from_sources(sources, ProtocolOptions())

    low, high = result.auc_ci
    assert low < 50 < high
    assert result.auc_mean == pytest.approx(50, abs=4)  # sd of one pair is 2.9, of the mean below 1


def test_figures_follow_from_the_definition_pair_by_pair(make_source):
    sources = [make_source(name, 15, direction=i % 2, noise=3) for i, name in enumerate("abc")]
    by_name = {source.name: source.fingerprints.astype(np.float64) for source in sources}

    result = verification_from_sources(sources, ProtocolOptions(resamples=100))

    def scores(target: str, name: str) -> np.ndarray:
        support = by_name[target][result.splits[target].support]
        queries = by_name[name][result.splits[name].queries]
        return np.array(
            [np.mean([query @ reference for reference in support]) for query in queries]
        )

    for target in "abc":
        others = [name for name in "abc" if name != target]
        expected = [100 * auc(scores(target, target), scores(target, name)) for name in others]
        figures = result.targets[target]
        assert list(result.pairs[target]) == others
        assert list(result.pairs[target].values()) == pytest.approx(expected)
        assert figures["auc_mean"] == pytest.approx(np.mean(expected))
        assert figures["auc_sd"] == pytest.approx(abs(expected[0] - expected[1]) / np.sqrt(2))
        assert figures["auc_min"] == pytest.approx(min(expected))
        hardest = min(result.pairs[target], key=result.pairs[target].get)
        assert hardest == others[int(np.argmin(expected))]
    assert result.auc_mean == pytest.approx(
        np.mean([target["auc_mean"] for target in result.targets.values()])
    )


def test_pairs_are_ordered_target_first(make_source):
    # a lies in one direction, b in all of them: a's support tells b apart, but not the other way.
    tight, loose = make_source("a", 40, direction=0, noise=0.3), make_source("b", 40, noise=0.3)

    result = verification_from_sources([tight, loose], ProtocolOptions(resamples=100))

    assert result.pairs["a"]["b"] == 100.0
    assert result.pairs["b"]["a"] < 90.0


def test_real_source_is_a_negative_and_no_target(make_source):
    sources = [make_source(name, 20, direction=i) for i, name in enumerate(["a", "b", "photos"])]

    plain = verification_from_sources(sources, ProtocolOptions(resamples=100))
    marked = verification_from_sources(sources, ProtocolOptions(real=("photos",), resamples=100))

    assert list(marked.targets) == ["a", "b"]
    assert list(marked.pairs["a"]) == ["b", "photos"]
    assert marked.pairs["a"] == plain.pairs["a"]
    assert marked.auc_mean == pytest.approx(
        (plain.targets["a"]["auc_mean"] + plain.targets["b"]["auc_mean"]) / 2
    )
    assert marked.query_count == plain.query_count == 30


def test_sd_over_a_single_other_source_is_undefined(make_source):
    sources = [make_source("a", 10, direction=0), make_source("b", 10, direction=1)]

    result = verification_from_sources(sources, ProtocolOptions(resamples=100))

    assert result.targets["a"]["auc_sd"] is None


def test_order_of_the_sources_changes_no_figure(make_source):
    sources = [make_source(name, 20, direction=i, noise=3) for i, name in enumerate("abc")]
    options = ProtocolOptions(resamples=100)

    forth = verification_from_sources(sources, options)
    back = verification_from_sources(sources[::-1], options)

    assert back.targets["b"]["auc_mean"] == pytest.approx(forth.targets["b"]["auc_mean"])
    assert back.auc_mean == pytest.approx(forth.auc_mean)


def test_same_seed_same_result_other_seed_other_split(make_source):
    sources = [make_source(name, 20, direction=i, noise=3) for i, name in enumerate("abc")]

    first, again, other = (
        verification_from_sources(sources, ProtocolOptions(seed=seed, resamples=100))
        for seed in (0, 0, 1)
    )

    assert (first.pairs, first.auc_ci) == (again.pairs, again.auc_ci)
    assert first.pairs != other.pairs


def test_support_count_is_drawn_from_every_source(make_source):
    sources = [make_source("a", 20, direction=0), make_source("b", 12, direction=1)]
    options = ProtocolOptions(support=10, resamples=100)

    result = verification_from_sources(sources, options)

    assert {n: (len(s.support), len(s.queries)) for n, s in result.splits.items()} == {
        "a": (10, 10),
        "b": (10, 2),
    }


def test_queries_given_apart_take_the_place_of_the_split(make_source):
    sources = [make_source(name, 20, direction=i, noise=0.1) for i, name in enumerate("ab")]
    options = ProtocolOptions(resamples=100)
    swapped = {
        name: source.fingerprints[:3] for name, source in zip("ab", sources[::-1], strict=True)
    }

    result = verification_from_sources(sources, options, queries=swapped)

    assert result.auc_mean == 0.0
    assert verification_from_sources(sources, options).auc_mean == 100.0


def test_rule_decides_what_the_support_stands_for(make_source):
    # A source of two modes: the nearest neighbours tell it, its mean does not as well.
    modes = [make_source("a", 40, direction=i, noise=0.3, seed=i) for i in range(2)]
    ids = modes[0].ids + make_source("more", 40).ids
    both = LabelledSource("a", ids, np.concatenate([mode.fingerprints for mode in modes]))
    between = make_source("b", 40, direction=0, noise=0.3, seed=5).fingerprints.copy()
    between[:, 1] = between[:, 0]
    between /= np.linalg.norm(between, axis=1, keepdims=True)
    other = LabelledSource("b", make_source("b", 40).ids, between)

    auc_of = {
        rule: verification_from_sources(
            [both, other], ProtocolOptions(resamples=100), rule=rule
        ).pairs["a"]["b"]
        for rule in ScoreRule
    }

    assert auc_of[ScoreRule.KNN] > 99
    assert auc_of[ScoreRule.MAX] > 99
    assert auc_of[ScoreRule.MEAN] < 20
    assert auc_of[ScoreRule.PROTOTYPE] == pytest.approx(auc_of[ScoreRule.MEAN])


def test_unknown_real_source_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match="'photos' is not among the sources") as caught:
        targets_from_names(["a", "b"], ["photos"])

    assert caught.value.hint == "Sources: a, b."


def test_real_sources_alone_leave_no_target():
    with pytest.raises(UsageError, match="no target"):
        targets_from_names(["a", "b"], ["a", "b"])


def drawn_scores(targets: int, queries: int) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return {
        f"s{t}": {f"s{u}": rng.normal(t == u, 1, queries).round(2) for u in range(targets)}
        for t in range(targets)
    }


def test_bootstrap_does_not_depend_on_the_blocks_it_is_computed_in(monkeypatch):
    scores = drawn_scores(targets=3, queries=10)
    whole = bootstrap_means(scores, seed=0, resamples=50)

    monkeypatch.setattr("lineup_lab.metrics.COUNTS_PER_BLOCK", 30 * 7)
    in_blocks = bootstrap_means(scores, seed=0, resamples=50)

    np.testing.assert_allclose(in_blocks, whole, rtol=1e-12)


def test_bootstrap_spread_matches_the_spread_of_fresh_queries():
    rng = np.random.default_rng(0)
    scores = {t: {u: rng.normal(t == u, 1, 100) for u in "ab"} for t in "ab"}

    bootstrapped = bootstrap_means(scores, seed=0, resamples=500).std()

    fresh = [
        np.mean([auc(rng.normal(1, 1, 100), rng.normal(0, 1, 100)) for _ in "ab"])
        for _ in range(500)
    ]
    assert bootstrapped == pytest.approx(np.std(fresh), rel=0.35)


def test_bootstrap_of_eight_sources_takes_seconds():
    scores = drawn_scores(targets=8, queries=200)
    started = time.process_time()

    bootstrap_means(scores, seed=0, resamples=1000)

    assert time.process_time() - started < 10  # about 1 s; sorting each resample takes minutes
