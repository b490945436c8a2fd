"""What may have happened to an image before it is judged, so that its history does not judge it.

Photographs mostly come as JPEG with halved chroma and generated images as PNG: a head trained on
that learns to tell JPEG from PNG. Here photographs are also shrunk to half, which leaves nothing of
their compression, and photographs and reconstructions alike are compressed, resized, blurred,
sharpened and made noisy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import cv2
import numpy as np

from lineup.imaging.tiles import TileSpec, tiles_from_image
from lineup.types import RgbImage

QUALITIES = (60, 97)
HALVED_CHROMA_SHARE = 0.7
MOSAIC_SHARE = 0.6
"""Of the photographs shrunk to half; the others are continued by reflection, as tiles are."""

MOSAIC_PHOTOGRAPHS = 64
"""The latest ones, of which mosaics are made."""

SHRINKING = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
ENLARGING = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
CHANGE_SHARES = (0.45, 0.15, 0.15, 0.15, 0.1)
RECONSTRUCTION_SHARES = (0.5, 1 / 3, 1 / 6)
"""Of reconstructions that are also seen changed, compressed, and no further time."""


def photograph_tiles(
    photographs: Iterable[RgbImage], size_px: int, random: np.random.Generator
) -> Iterator[RgbImage]:
    """Yield five tiles of each photograph, (size, size, 3).

    As it is; compressed; without its history (half its size); that, compressed; changed.

    Args:
        photographs: Each at least `size_px` a side.
        size_px: Side of the tiles.
        random: Draws everything.
    """
    halves: deque[RgbImage] = deque(maxlen=MOSAIC_PHOTOGRAPHS)
    for photograph in photographs:
        halves.append(_halved(photograph, random))
        yield crop(photograph, size_px, random)
        yield crop(compressed(photograph, random), size_px, random)
        yield _without_history(halves, size_px, random)
        yield compressed(_without_history(halves, size_px, random), random)
        yield _changed_tile(photograph, size_px, random)


def reconstruction_tiles(
    images: Iterable[RgbImage], random: np.random.Generator
) -> Iterator[RgbImage]:
    """Yield one or two tiles of each reconstruction: as it is, and changed or compressed.

    Args:
        images: Square, of the tiles' size.
        random: Draws everything.
    """
    for image in images:
        yield image
        kind = random.choice(3, p=RECONSTRUCTION_SHARES)
        if kind == 0:
            yield _changed_tile(image, len(image), random)
        elif kind == 1:
            yield compressed(image, random)


def crop(pixels: RgbImage, size_px: int, random: np.random.Generator) -> RgbImage:
    """Return a random crop; a smaller image is first continued by reflection."""
    small = min(pixels.shape[:2]) < size_px
    padded = tiles_from_image(pixels, TileSpec(size_px, 1))[0] if small else pixels
    top = random.integers(padded.shape[0] - size_px + 1)
    left = random.integers(padded.shape[1] - size_px + 1)
    return np.ascontiguousarray(padded[top : top + size_px, left : left + size_px])


def compressed(pixels: RgbImage, random: np.random.Generator) -> RgbImage:
    """Return the image as JPEG leaves it, mostly with halved chroma."""
    quality = int(random.integers(*QUALITIES, endpoint=True))
    halved = random.random() < HALVED_CHROMA_SHARE
    sampling = (
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if halved else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    )
    return _recoded(
        pixels,
        ".jpg",
        [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling],
    )


def _changed_tile(pixels: RgbImage, size_px: int, random: np.random.Generator) -> RgbImage:
    change = _CHANGES[random.choice(len(_CHANGES), p=CHANGE_SHARES)]
    changed = change(pixels, random)
    return crop(compressed(changed, random) if random.random() < 0.5 else changed, size_px, random)


def _halved(pixels: RgbImage, random: np.random.Generator) -> RgbImage:
    method = SHRINKING[random.integers(len(SHRINKING))]
    return np.asarray(cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=method), np.uint8)


def _without_history(
    halves: Sequence[RgbImage], size_px: int, random: np.random.Generator
) -> RgbImage:
    """Return the latest half, continued by reflection, or a mosaic of four of them."""
    if random.random() >= MOSAIC_SHARE:
        return np.asarray(tiles_from_image(halves[-1], TileSpec(size_px, 1))[0])
    drawn = random.integers(len(halves), size=(2, 2))
    rows = [
        np.hstack([crop(halves[index], size_px // 2, random) for index in pair]) for pair in drawn
    ]
    return np.asarray(np.vstack(rows), np.uint8)


def _resized(pixels: RgbImage, random: np.random.Generator) -> RgbImage:
    factor = random.uniform(0.6, 1.6)
    methods = SHRINKING if factor < 1 else ENLARGING
    method = methods[random.integers(len(methods))]
    return np.asarray(
        cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=method), np.uint8
    )


def _blurred(pixels: RgbImage, random: np.random.Generator) -> RgbImage:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), random.uniform(0.35, 1.0)), np.uint8)


def _sharpened(pixels: RgbImage, random: np.random.Generator) -> RgbImage:
    strength, sigma_px = random.uniform(0.2, 1.0), random.uniform(0.6, 1.5)
    blurred = cv2.GaussianBlur(pixels, (0, 0), sigma_px)
    return np.asarray(cv2.addWeighted(pixels, 1 + strength, blurred, -strength, 0), np.uint8)


def _noisy(pixels: RgbImage, random: np.random.Generator) -> RgbImage:
    channels = 1 if random.random() < 0.5 else 3
    noise = random.uniform(0.7, 4.0) * random.standard_normal((*pixels.shape[:2], channels))
    return np.asarray(np.clip(np.rint(pixels + noise), 0, 255), np.uint8)


def _webp(pixels: RgbImage, random: np.random.Generator) -> RgbImage:
    return _recoded(pixels, ".webp", [cv2.IMWRITE_WEBP_QUALITY, int(random.integers(70, 96))])


_CHANGES: tuple[Callable[[RgbImage, np.random.Generator], RgbImage], ...] = (
    _resized,
    _blurred,
    _sharpened,
    _noisy,
    _webp,
)
"""In the order of `CHANGE_SHARES`."""


def _recoded(pixels: RgbImage, suffix: str, parameters: list[int]) -> RgbImage:
    _, encoded = cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), parameters)
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
