from __future__ import annotations

import numpy as np
import pytest

from lineup.errors import ParityError
from lineup_export.parity import checked_parity, max_relative_error


def test_the_error_is_relative_to_the_largest_element() -> None:
    reference = np.array([0.0, 2.0, -4.0])

    assert max_relative_error(np.array([0.002, 2.0, -4.0]), reference) == pytest.approx(0.0005)


@pytest.mark.parametrize("value", [[1.0, np.nan], [np.inf, 2.0], [1.0]])
def test_what_is_not_finite_or_of_another_shape_is_infinitely_wrong(value: list[float]) -> None:
    assert max_relative_error(np.array(value), np.array([1.0, 2.0])) == float("inf")


def test_a_reference_of_zeros_is_compared_in_absolute_terms() -> None:
    assert max_relative_error(np.array([0.0, 3e-5]), np.zeros(2)) == pytest.approx(3e-5)


def test_the_worst_sample_is_recorded() -> None:
    references = [np.array([1.0, 0.0]), np.array([2.0, 0.0])]
    outputs = [np.array([1.0, 0.01]), np.array([2.0, 0.04])]

    parity = checked_parity("g", outputs, references, reference="a sum", tolerance=0.1)

    assert parity.value == pytest.approx(0.02)
    assert (parity.samples, parity.reference, parity.tolerance) == (2, "a sum", 0.1)


def test_an_error_above_the_tolerance_is_refused() -> None:
    with pytest.raises(ParityError, match=r"is 0\.5, expected at most 0\.1"):
        checked_parity("g", [np.ones(2)], [np.full(2, 2.0)], reference="a sum", tolerance=0.1)
