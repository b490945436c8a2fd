import numpy as np
import pytest

from lineup.calibration.calibration import EvidenceKind
from lineup.calibration.verdict import set_mask

KINDS = {"fingerprint": EvidenceKind.CANDIDATES, "photograph": EvidenceKind.PHOTOGRAPH}
RATIOS = {  # of queries with both, with fingerprints alone, with the other alone, with half of both
    "fingerprint": np.array([[1.0, 2.0], [1.0, 2.0], [np.nan, np.nan], [1.0, np.nan]]),
    "photograph": np.array([[3.0], [np.nan], [3.0], [3.0]]),
}


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"fingerprint"}, ["----", "xx--", "----", "----"]),
        ({"photograph"}, ["----", "----", "---x", "----"]),
        ({"fingerprint", "photograph"}, ["xx-x", "----", "----", "x--x"]),
    ],
)
def test_a_set_applies_where_a_label_has_just_its_evidence(chosen, expected):
    found = set_mask(frozenset(chosen), RATIOS, KINDS, candidates=2)

    assert ["".join("-x"[value] for value in row) for row in found.astype(int)] == expected
