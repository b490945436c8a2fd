from __future__ import annotations

import numpy as np


def test_the_own_candidate_is_ranked_by_cosine():
    from previews import ranks

    made = np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32)

    assert [ranks(np.array([0, 1], np.float32), made, own) for own in range(3)] == [2, 1, 0]
