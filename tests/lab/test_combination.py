import math

import numpy as np
import pytest

from lineup.calibration.calibration import Combination, EvidenceKind
from lineup.calibration.verdict import fused_ratios
from lineup.results import GENERATED, PHOTOGRAPH
from lineup_lab.fit_ratios import fit_combinations, log_posterior, sets_of_evidences
from lineup_lab.table import LabelledQuery, table_from_queries

NAMES = ("a", "b", "c")
ABSENT = math.nan


def gaussian_ratios(rng, truth, strength):
    """Exact log ratios of unit Gaussians whose mean is `strength` under the own label."""
    own = truth[:, None] == np.arange(len(NAMES))
    scores = rng.normal(size=own.shape) + strength * own
    return strength * scores - strength**2 / 2


def drawn(per_label=300, seed=0):
    rng = np.random.default_rng(seed)
    labels = (*NAMES, GENERATED, PHOTOGRAPH)
    queries = [
        LabelledQuery(f"{label}{n}", label, {"x": {"a": 0.0}, "y": {"a": 0.0}})
        for label in labels
        for n in range(per_label)
    ]
    return table_from_queries(NAMES, queries), rng


def test_sets_come_smaller_first():
    assert [sorted(one) for one in sets_of_evidences(["y", "x"])] == [["x"], ["y"], ["x", "y"]]


def test_independent_evidence_adds_and_repeated_evidence_is_counted_once():
    table, rng = drawn(1000)
    x, y = (gaussian_ratios(rng, table.truth, 2.0) for _ in range(2))

    independent = fit_combinations(table, {"x": x, "y": y})[frozenset({"x", "y"})]
    repeated = fit_combinations(table, {"x": x, "y": x})[frozenset({"x", "y"})]

    assert list(independent.weights.values()) == pytest.approx([1.0, 1.0], abs=0.15)
    assert independent.bias == pytest.approx(0.0, abs=0.2)
    assert sum(repeated.weights.values()) == pytest.approx(1.0, abs=0.1)


def test_ratios_that_claim_too_much_are_weighed_down():
    table, rng = drawn()
    honest = gaussian_ratios(rng, table.truth, 2.0)

    weights = fit_combinations(table, {"x": 3 * honest})[frozenset({"x"})].weights

    assert weights["x"] == pytest.approx(1 / 3, abs=0.05)


def test_missing_evidence_is_left_out_per_candidate():
    kinds = {"x": EvidenceKind.CANDIDATES, "y": EvidenceKind.CANDIDATES}
    combinations = {
        frozenset({"x"}): Combination({"x": 2.0}, bias=0.1, photograph_bias=9.0),
        frozenset({"y"}): Combination({"y": 3.0}, bias=0.2, photograph_bias=9.0),
        frozenset({"x", "y"}): Combination({"x": 0.5, "y": 0.5}, bias=0.3, photograph_bias=9.0),
    }
    ratios = {"x": np.array([[1.0, 1.0, ABSENT]]), "y": np.array([[4.0, ABSENT, ABSENT]])}

    fused = fused_ratios(kinds, ratios, combinations, 3)

    # Both: 0.5 * 1 + 0.5 * 4 + 0.3; x alone: 2 * 1 + 0.1; nothing at all: 0, and so for the rest.
    np.testing.assert_allclose(fused, [[2.8, 2.1, 0.0, 0.0, 0.0]])


def test_evidence_on_photographs_speaks_of_them_alone():
    kinds = {"x": EvidenceKind.CANDIDATES, "head": EvidenceKind.PHOTOGRAPH}
    combinations = {
        frozenset({"x", "head"}): Combination(
            {"x": 1.0, "head": 2.0}, bias=0.5, photograph_bias=-1.0
        )
    }
    ratios = {"x": np.array([[1.0, 2.0, 3.0]]), "head": np.array([[4.0]])}

    fused = fused_ratios(kinds, ratios, combinations, 3)

    np.testing.assert_allclose(fused, [[1.5, 2.5, 3.5, 0.0, 7.0]])


def test_candidates_that_never_have_an_evidence_do_not_spoil_its_weight():
    table, rng = drawn()
    x, y = (gaussian_ratios(rng, table.truth, 2.0) for _ in range(2))
    y[:, 2] = ABSENT  # candidate c joins by x alone

    fitted = fit_combinations(table, {"x": x, "y": y})
    fused = fused_ratios(table.kinds, {"x": x, "y": y}, fitted, 3)

    answers = log_posterior(fused, NAMES)[:, :3].argmax(axis=1)
    for label in range(3):
        assert np.mean(answers[table.truth == label] == label) > 0.8


def test_the_posterior_is_the_softmax_with_the_prior():
    posterior = np.exp(log_posterior(np.array([[math.log(6.0), 0.0, 0.0, 0.0, 0.0]]), NAMES))

    expected = np.array([[6 / 6, 1 / 6, 1 / 6, 1 / 4, 1 / 4]])
    np.testing.assert_allclose(posterior, expected / expected.sum())
