"""Features of images as a bank keeps them, of the clean image and of degraded versions."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch

from lineup.files import write_atomic
from lineup.imaging.operations import Operation, OperationKind
from lineup.imaging.tiles import TileSpec, tiles_from_image
from lineup.types import AnyArray, Float32Array, RgbImage
from lineup_models.fingerprint.spectrum import PooledSpectrum

KINDS = ("jpeg", "webp", "resize", "blur", "crop")
KIND_WEIGHTS = (0.45, 0.12, 0.18, 0.10, 0.15)
"""JPEG is by far the most common fate of an image."""

JPEG_AFTERWARDS = 0.3
"""Share of the resized, blurred and cropped that are then saved as JPEG."""


@dataclass(frozen=True, slots=True)
class Degradation:
    """A chain of changes, applied in the order of the attributes; the defaults change nothing.

    Attributes:
        crop: Kept part of each side, 0..1, from the middle.
        resize: Factor on each side.
        blur_px: Standard deviation of a Gaussian.
        webp_quality: 1..100; 0 leaves out.
        jpeg_quality: 1..100; 0 leaves out.
    """

    crop: float = 1.0
    resize: float = 1.0
    blur_px: float = 0.0
    webp_quality: int = 0
    jpeg_quality: int = 0


OPERATIONS = (
    OperationKind.CROP,
    OperationKind.RESIZE,
    OperationKind.BLUR,
    OperationKind.WEBP,
    OperationKind.JPEG,
)
"""What the attributes of a degradation are the values of."""


def degradation_from_seed(seed: int | Sequence[int]) -> Degradation:
    """Draw a degradation of everyday strength."""
    random = np.random.default_rng(seed)
    kind = KINDS[int(np.searchsorted(np.cumsum(KIND_WEIGHTS), random.random()))]
    quality = int(random.integers(60, 97, endpoint=True))
    if kind == "jpeg":
        return Degradation(jpeg_quality=quality)
    if kind == "webp":
        return Degradation(webp_quality=int(random.integers(65, 95, endpoint=True)))
    jpeg_quality = quality if random.random() < JPEG_AFTERWARDS else 0
    if kind == "resize":
        return Degradation(resize=float(random.uniform(0.5, 1.25)), jpeg_quality=jpeg_quality)
    if kind == "blur":
        return Degradation(blur_px=float(random.uniform(0.4, 1.2)), jpeg_quality=jpeg_quality)
    return Degradation(crop=float(random.uniform(0.7, 0.95)), jpeg_quality=jpeg_quality)


def degraded_image(pixels: RgbImage, degradation: Degradation) -> RgbImage:
    """Return `pixels` (H, W, 3) after the degradation, uint8; the size may change."""
    changes = zip(OPERATIONS, astuple(degradation), astuple(Degradation()), strict=True)
    for kind, value, unchanged in changes:
        if value != unchanged:
            pixels = Operation(kind, value)(pixels)
    return pixels


FeatureFunction = Callable[[Sequence[RgbImage]], Float32Array]
"""Images (height, width, 3), of any sizes, to one row each: float32 (images, dimension)."""

MAX_TILES = 9


def features_from_spectrum(
    spectrum: PooledSpectrum, *, device: str | torch.device = "cpu"
) -> FeatureFunction:
    """Return the function from images to rows, averaged over up to 9 tiles of an image.

    Args:
        spectrum: Tiles to rows, in evaluation mode; is moved to `device`.
        device: Where to compute.
    """
    spectrum.to(device)
    tiling = TileSpec(size_px=spectrum.spec.tile_size_px, max_tiles=MAX_TILES)

    def features(images: Sequence[RgbImage]) -> Float32Array:
        rows = np.empty((len(images), spectrum.spec.dimension), np.float32)
        with torch.inference_mode():
            # One image at a time: a tile's temporaries stay in the cache.
            for row, image in zip(rows, images, strict=True):
                tiles = torch.from_numpy(tiles_from_image(image, tiling)).to(device)
                row[:] = spectrum(tiles).mean(dim=0).cpu().numpy()
        return rows

    return features


def write_arrays(path: Path, arrays: Mapping[str, AnyArray]) -> None:
    """Write an .npz, whole or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_atomic(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, AnyArray]:
    """Read an .npz into memory."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
