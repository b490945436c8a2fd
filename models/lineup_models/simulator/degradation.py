"""What happens to images on their way: compression, resizing, blur, cropping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from lineup.types import RgbImage

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
    if degradation.crop < 1.0:
        pixels = _cropped(pixels, degradation.crop)
    if degradation.resize != 1.0:
        pixels = _resized(pixels, degradation.resize)
    if degradation.blur_px > 0.0:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), degradation.blur_px), np.uint8)
    if degradation.webp_quality:
        pixels = _recoded(pixels, ".webp", [cv2.IMWRITE_WEBP_QUALITY, degradation.webp_quality])
    if degradation.jpeg_quality:
        pixels = _recoded(pixels, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, degradation.jpeg_quality])
    return pixels


def _cropped(pixels: RgbImage, part: float) -> RgbImage:
    height, width = (max(1, round(side * part)) for side in pixels.shape[:2])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def _resized(pixels: RgbImage, factor: float) -> RgbImage:
    size = tuple(max(1, round(side * factor)) for side in pixels.shape[1::-1])
    # Area averaging when shrinking, as most software does; cubic when enlarging.
    method = cv2.INTER_AREA if factor < 1.0 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, size, interpolation=method), np.uint8)


def _recoded(pixels: RgbImage, suffix: str, parameters: list[int]) -> RgbImage:
    _, encoded = cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), parameters)
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
