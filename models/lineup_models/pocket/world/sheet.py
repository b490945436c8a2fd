"""Contact sheets of the pocket world."""

from __future__ import annotations

from math import ceil, sqrt

import numpy as np

from lineup.types import RgbImage
from lineup_models.pocket.world.render import pixels_from_scene
from lineup_models.pocket.world.scene import scene_from_seed

PAPER = 255
GAP_PX = 4


def sheet_from_seeds(seeds: range, size_px: int = 256) -> RgbImage:
    """Draw one picture for each seed, row by row on white; uint8 RGB."""
    columns = ceil(sqrt(len(seeds)))
    rows = ceil(len(seeds) / columns)
    cell = size_px + GAP_PX
    sheet = np.full((rows * cell + GAP_PX, columns * cell + GAP_PX, 3), PAPER, np.uint8)
    for index, seed in enumerate(seeds):
        top, left = (GAP_PX + cell * place for place in divmod(index, columns))
        pixels = pixels_from_scene(scene_from_seed(seed), seed, size_px)
        sheet[top : top + size_px, left : left + size_px] = pixels
    return sheet
