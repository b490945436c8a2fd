"""Random crops of photographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lineup.errors import UsageError
from lineup.imaging.decode import bytes_from_path, image_from_bytes
from lineup.types import RgbImage, RgbTiles

SIDE_MULTIPLE_PX = 8
"""The encoder halves the image three times."""


def random_crop(photograph: RgbImage, size_px: int, random: np.random.Generator) -> RgbImage:
    """Return a square crop, mirrored half of the time, shape (size, size, 3).

    Raises:
        UsageError: The photograph is smaller than the crop.
    """
    height, width = photograph.shape[:2]
    if min(height, width) < size_px:
        raise UsageError(
            f"A photograph of {width}x{height} px has no crop of {size_px} px.",
            hint="Lower the crop size, or leave small photographs out.",
        )
    top = int(random.integers(0, height - size_px, endpoint=True))
    left = int(random.integers(0, width - size_px, endpoint=True))
    crop = photograph[top : top + size_px, left : left + size_px]
    return np.ascontiguousarray(crop[:, ::-1] if random.integers(2) else crop)


def crops_from_paths(
    paths: Sequence[Path], size_px: int, count: int, random: np.random.Generator
) -> RgbTiles:
    """Return crops of photographs drawn with replacement, uint8 (count, size, size, 3).

    Raises:
        ImageError: A photograph cannot be decoded.
        UsageError: A photograph is smaller than the crop.
    """
    crops = []
    for index in random.integers(len(paths), size=count):
        photograph = image_from_bytes(bytes_from_path(paths[int(index)])).pixels
        crops.append(random_crop(photograph, size_px, random))
    return np.stack(crops)


def images_from_pixels(pixels: RgbTiles) -> Tensor:
    """Turn uint8 (N, H, W, 3) into float32 (N, 3, H, W), 0..1."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).to(torch.float32).contiguous() / 255.0
