import numpy as np
import pytest

from lineup.results import GENERATED, PHOTOGRAPH
from lineup_lab.fit_calibration import HeldOut, held_out_figures
from lineup_lab.metrics import expected_calibration_error, negative_log_likelihood
from lineup_lab.table import LabelledQuery, table_from_queries


def test_error_is_the_mean_gap_over_bins():
    # Bins of a fifth: two queries at 0.9 of which one is right, two at 0.3 of which none is.
    error = expected_calibration_error([0.9, 0.9, 0.3, 0.3], [True, False, False, False], bins=5)

    assert error == pytest.approx((2 * 0.4 + 2 * 0.3) / 4)


def test_a_calibrated_answer_has_no_error_and_a_sure_one_has_its_mistakes():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1.0, 50_000)
    right = rng.random(50_000) < confidence

    assert expected_calibration_error(confidence, right) < 0.01
    assert expected_calibration_error(np.ones(50_000), right) == pytest.approx(0.25, abs=0.01)


def test_weights_are_repetitions():
    confidence, right = [0.9, 0.4, 0.7], [True, False, False]

    weighed = expected_calibration_error(confidence, right, [3, 1, 2])
    repeated = expected_calibration_error(
        np.repeat(confidence, [3, 1, 2]), np.repeat(right, [3, 1, 2])
    )

    assert weighed == pytest.approx(repeated)
    assert negative_log_likelihood([0.5, 0.25], [3, 1]) == pytest.approx(
        (3 * np.log(2) + np.log(4)) / 4
    )


@pytest.mark.parametrize("values", [[], [[0.5]], [1.5], [-0.1], [np.nan]])
def test_what_is_no_probability_is_refused(values):
    with pytest.raises(ValueError, match="probabilit"):
        negative_log_likelihood(values)


def test_held_out_figures_take_unknown_and_real_for_one_answer():
    truths = ["a", "b", GENERATED, PHOTOGRAPH]
    table = table_from_queries(
        ["a", "b"], [LabelledQuery(str(n), one, {"e": {"a": 0.0}}) for n, one in enumerate(truths)]
    )
    posterior = np.array(
        [[0.8, 0.1, 0.05, 0.05], [0.6, 0.2, 0.1, 0.1], [0.1, 0.1, 0.4, 0.4], [0.1, 0.1, 0.4, 0.4]]
    )

    figures = held_out_figures(table, HeldOut(np.arange(4), np.log(posterior)))

    # In the prior a and b weigh a sixth each, unknown and real a third.
    assert figures["accuracy"] == 50.0
    assert figures["ece"] == pytest.approx(0.2 * 5 / 6 + 0.6 / 6)
    assert figures["nll"] == pytest.approx(-(5 * np.log(0.8) + np.log(0.2)) / 6)
    assert figures["queries"] == 4
