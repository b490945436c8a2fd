"""A contact sheet: photographs and what generators make of them, for a look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from lineup.files import write_atomic
from lineup.types import RgbImage, RgbTiles

GAP_PX = 4


def contact_sheet(rows: Sequence[RgbTiles]) -> RgbImage:
    """Lay images out, one row per entry of `rows`, uint8 (N, H, W, 3) each, on a white ground."""
    gap = ((GAP_PX, 0), (GAP_PX, 0), (0, 0))
    lines = [
        np.concatenate([np.pad(image, gap, constant_values=255) for image in row], axis=1)
        for row in rows
    ]
    return np.concatenate(lines)


def write_png(path: Path, pixels: RgbImage) -> None:
    """Write `pixels` as PNG."""
    _, encoded = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    write_atomic(path, encoded.tobytes())
