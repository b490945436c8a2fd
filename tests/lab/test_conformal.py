import math

import numpy as np
import pytest

from lineup.calibration.calibration import ConformalThresholds
from lineup.calibration.verdict import conformal_set
from lineup.results import GENERATED, PHOTOGRAPH, UNDETERMINED
from lineup_lab.fit_rules import conformal_quantile, fit_thresholds


def test_the_quantile_is_exact_for_few_values():
    values = np.arange(1.0, 20.0)  # 19 values: the 18th highest for 90 %

    assert conformal_quantile(values, 0.9) == 2.0
    assert conformal_quantile(values[:9], 0.9) == 1.0
    assert conformal_quantile(values[:8], 0.9) is None
    assert conformal_quantile(np.empty(0), 0.9) is None


@pytest.mark.parametrize("size", [9, 10, 25])
def test_a_further_value_is_covered_at_the_level_averaged_over_calibrations(size):
    rng = np.random.default_rng(size)
    draws = rng.normal(size=(20_000, size + 1))

    covered = [row[-1] >= conformal_quantile(row[:-1], 0.9) for row in draws]

    exact = math.ceil((size + 1) * 0.9) / (size + 1)
    assert np.mean(covered) == pytest.approx(exact, abs=0.01)
    assert exact >= 0.9


def test_every_origin_is_covered_however_often_it_comes():
    rng = np.random.default_rng(0)

    def draw(counts):
        truth = np.repeat(np.arange(4), counts)
        logits = rng.normal(size=(len(truth), 4))
        logits[np.arange(len(truth)), truth] += np.array([3.0, 3.0, 0.5, 1.0])[truth]
        return logits - np.logaddexp.reduce(logits, axis=1)[:, None], truth

    thresholds = fit_thresholds(*draw([200, 200, 400, 400]), 0.9)

    bounds = np.array([thresholds.of(label) for label in ("a", "b", GENERATED, PHOTOGRAPH)])
    for counts in ([1000, 1000, 0, 0], [0, 0, 2000, 0], [0, 0, 0, 2000]):
        posterior, truth = draw(counts)
        covered = posterior[np.arange(len(truth)), truth] >= bounds[truth]
        assert covered.mean() == pytest.approx(0.9, abs=0.04)


def test_sets_hold_what_meets_its_threshold_and_always_the_answer():
    logs = {
        "a": math.log(0.5),
        "b": math.log(0.3),
        GENERATED: math.log(0.15),
        PHOTOGRAPH: math.log(0.05),
    }
    thresholds = ConformalThresholds(candidates=math.log(0.2), generated=math.log(0.2))

    assert conformal_set(logs, thresholds, "a") == ("a", "b", PHOTOGRAPH)
    highest = ConformalThresholds(0.0, 0.0, 0.0)
    assert conformal_set(logs, highest, GENERATED) == (GENERATED,)
    assert conformal_set(logs, thresholds, UNDETERMINED) == ("a", "b", PHOTOGRAPH)
    assert conformal_set(logs, highest, UNDETERMINED) == ("a",)
