from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of twelve 40 x 48 images with slopes and noise, and one file that is no image."""
    folder = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(8)
    y, x = np.mgrid[0:40, 0:48]
    for index in range(12):
        slope = random.uniform(-2, 2, (2, 3))
        base = 128 + (y - 20)[..., None] * slope[0] + (x - 24)[..., None] * slope[1]
        noisy = base + random.normal(0, 1 + index, base.shape)
        cv2.imwrite(str(folder / f"{index}.png"), np.clip(noisy, 0, 255).astype(np.uint8))
    (folder / "broken.jpg").write_text("not an image")
    return folder
