import numpy as np
import pytest

from lineup.calibration.calibration import EvidenceKind, features_from_scores

ABSENT = np.nan


@pytest.mark.parametrize(
    ("scores", "above_mean", "above_best"),
    [
        ([1.0, 3.0, 2.0], [-1.5, 1.5, 0.0], [-2.0, 1.0, -1.0]),
        ([3.0, 3.0, 0.0], [1.5, 1.5, -3.0], [0.0, 0.0, -3.0]),
        ([1.0, ABSENT, 4.0], [-3.0, ABSENT, 3.0], [-3.0, ABSENT, 3.0]),
        ([ABSENT, 5.0, ABSENT], [ABSENT, 0.0, ABSENT], [ABSENT, 0.0, ABSENT]),
        ([5.0], [0.0], [0.0]),
    ],
)
def test_a_score_is_compared_with_the_others_of_its_image(scores, above_mean, above_best):
    found = features_from_scores(np.array([scores]), EvidenceKind.CANDIDATES)

    assert found.shape == (1, len(scores), 3)
    assert pytest.approx(np.array([scores, above_mean, above_best]), nan_ok=True) == found[0].T


def test_a_score_of_photographs_stands_alone():
    found = features_from_scores(np.array([[1.0], [ABSENT]]), EvidenceKind.PHOTOGRAPH)

    assert found == pytest.approx(np.array([[[1.0]], [[ABSENT]]]), nan_ok=True)
