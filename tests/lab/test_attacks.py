from __future__ import annotations

import numpy as np

from lineup.imaging.operations import operation_from_text
from lineup_lab.attacks import AttackedExtractor, attacks_from_texts


def test_equal_attacks_count_once():
    assert [str(one) for one in attacks_from_texts(["jpeg", "blur:1", "jpeg:90"])] == [
        "jpeg:90",
        "blur:1",
    ]


def test_extractor_sees_attacked_pixels(extractor):
    red = np.zeros((10, 10, 3), np.uint8)
    red[2:8, 2:8, 0] = 200

    attacked = AttackedExtractor(extractor, operation_from_text("crop:0.6"))

    assert attacked.tiles(red).ravel().tolist() == [200, 0, 0]
    assert extractor.tiles(red).ravel().tolist() == [72, 0, 0]
    assert attacked.notes(red) == ()
    np.testing.assert_array_equal(
        attacked.fingerprints_from_tiles([attacked.tiles(red)]), [[1, 0, 0]]
    )
