"""What happens to images on their way: deterministic operations on pixels.

jpeg:QUALITY   encode as JPEG at this quality (1-100) and decode; OpenCV's encoder (libjpeg-
               turbo) with its default chroma subsampling, 4:2:0
webp:QUALITY   encode as lossy WebP at this quality (1-100) and decode
resize:FACTOR  scale both sides (0.05-8), rounded to whole pixels; area averaging to smaller
               sizes, bicubic to larger ones; not scaled back
blur:SIGMA     Gaussian blur of this standard deviation in pixels (0.1-50)
crop:SHARE     keep the centre, this share (0.05-1) of each side, rounded to whole pixels
noise:SIGMA    add white Gaussian noise of this standard deviation in grey levels (0.1-128),
               seeded with the image's content: every image gets its own

Sides and values that fall between whole numbers are rounded half to even.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial

import cv2
import numpy as np

from lineup.errors import UnsupportedImageError, UsageError
from lineup.types import RgbImage


class OperationKind(str, Enum):
    """The operation."""

    JPEG = "jpeg"
    WEBP = "webp"
    RESIZE = "resize"
    BLUR = "blur"
    CROP = "crop"
    NOISE = "noise"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation on an image.

    Attributes:
        kind: Which operation.
        value: Its strength; see the head of this module.

    Raises:
        UsageError: The value is out of range.
    """

    kind: OperationKind
    value: float

    def __post_init__(self) -> None:
        parameter = _PARAMETERS[self.kind]
        in_range = parameter.low <= self.value <= parameter.high  # false for NaN
        if not in_range or (parameter.whole and self.value != int(self.value)):
            number = "whole number" if parameter.whole else "number"
            raise UsageError(
                f"The operation {self} has no such {parameter.meaning}.",
                hint=f"{self.kind.value} takes a {number} from {parameter.low:g} to "
                f"{parameter.high:g}, e.g. {self.kind.value}:{parameter.default:g}.",
            )

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.value:g}"

    def __call__(self, pixels: RgbImage) -> RgbImage:
        """Return what comes out.

        Args:
            pixels: Shape (height, width, 3), uint8 RGB; stays as it is.

        Returns:
            Shape (height', width', 3), uint8 RGB; the size changes under resize and crop only.

        Raises:
            UnsupportedImageError: The image is too large for the format.
        """
        return _PARAMETERS[self.kind].operation(pixels, self.value)


def operation_from_text(text: str) -> Operation:
    """Parse `NAME` or `NAME:VALUE`, such as `jpeg:70`; without a value, its default.

    Raises:
        UsageError: No such operation, or its value is no number or out of range.
    """
    name, colon, value = text.strip().partition(":")
    try:
        kind = OperationKind(name)
        return Operation(kind, float(value) if colon else _PARAMETERS[kind].default)
    except ValueError:
        known = ", ".join(f"{k.value}:{p.default:g}" for k, p in _PARAMETERS.items())
        raise UsageError(
            f"{text!r} is no operation on images.", hint=f"Give one such as: {known}."
        ) from None


def _recoded(suffix: str, setting: int, pixels: RgbImage, quality: float) -> RgbImage:
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    # Some codecs of OpenCV raise, some return False.
    try:
        written, data = cv2.imencode(suffix, bgr, [setting, int(quality)])
    except cv2.error:
        written = False
    if not written:  # WebP ends at 16,383 pixels a side, JPEG at 65,500
        height, width = pixels.shape[:2]
        raise UnsupportedImageError(
            f"An image of {width}x{height} pixels cannot be written as {suffix}."
        )
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # it was encoded just now
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _resize(pixels: RgbImage, factor: float) -> RgbImage:
    height, width = (max(1, round(side * factor)) for side in pixels.shape[:2])
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=interpolation), np.uint8)


def _blur(pixels: RgbImage, sigma_px: float) -> RgbImage:
    # Size (0, 0): OpenCV takes a kernel of 6 sigma. The border continues by reflection.
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma_px), np.uint8)


def _crop(pixels: RgbImage, share: float) -> RgbImage:
    height, width = (max(1, round(side * share)) for side in pixels.shape[:2])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def _noise(pixels: RgbImage, sigma: float) -> RgbImage:
    generator = np.random.default_rng(zlib.crc32(pixels.tobytes()))
    noise = generator.standard_normal(pixels.shape, dtype=np.float32) * np.float32(sigma)
    noisy: RgbImage = np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)
    return noisy


@dataclass(frozen=True, slots=True)
class _Parameter:
    """What an operation does, what its value means, its range and its default."""

    operation: Callable[[RgbImage, float], RgbImage]
    meaning: str
    low: float
    high: float
    default: float
    whole: bool = False


_JPEG = partial(_recoded, ".jpg", cv2.IMWRITE_JPEG_QUALITY)
_WEBP = partial(_recoded, ".webp", cv2.IMWRITE_WEBP_QUALITY)
_PARAMETERS = {
    OperationKind.JPEG: _Parameter(_JPEG, "quality", 1, 100, 90, whole=True),
    OperationKind.WEBP: _Parameter(_WEBP, "quality", 1, 100, 80, whole=True),
    OperationKind.RESIZE: _Parameter(_resize, "factor", 0.05, 8, 0.5),
    OperationKind.BLUR: _Parameter(_blur, "sigma in pixels", 0.1, 50, 1),
    OperationKind.CROP: _Parameter(_crop, "share of each side", 0.05, 1, 0.8),
    OperationKind.NOISE: _Parameter(_noise, "sigma in grey levels", 0.1, 128, 2),
}
