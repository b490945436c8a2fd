"""Channels: what an image went through after it was generated.

Handling moves a fingerprint and an embedding more than the generator does. So the images of a
source are enrolled once through each channel of a bank, and a query is compared with what is like
it. Beside them each image goes through a drawn channel, as queries do: a fifth of
them through nothing; the others, evenly, through JPEG, WebP, a resize, what social networks do, a
crop, a blur or a screenshot. Strengths are continuous, so that no drawn channel is one of the bank;
the same name and seed always give the same channel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from lineup.imaging.operations import Operation, OperationKind, operation_from_text
from lineup.types import RgbImage

CLEAN = "clean"
"""The channel of an image as it is."""

DRAWN = "drawn"
"""The name under which a support keeps its images through a drawn channel each."""

BANK = (CLEAN, "jpeg:70", "resize:0.5", "resize:0.75", "resize:1.5")
"""The channels that images are enrolled through. Two more (JPEG 90, a resize with JPEG) were
measured to add nothing to the rates of verdicts on images in drawn channels."""

UNTOUCHED = "none"
UNTOUCHED_SHARE = 0.2
LEAST_SIDE_PX = 8
SOCIAL_SIDES_PX = (1080, 2048)

DrawnOperation: TypeAlias = Callable[[RgbImage, np.random.Generator], RgbImage]

_INTERPOLATIONS = (cv2.INTER_CUBIC, cv2.INTER_LANCZOS4, cv2.INTER_AREA)


def through_channel(pixels: RgbImage, channel: str, name: str = "") -> RgbImage:
    """Return what an image is after a channel.

    Args:
        pixels: Shape (height, width, 3), uint8 RGB; stays as it is.
        channel: `CLEAN`, an operation such as `jpeg:70`, or `DRAWN`.
        name: Of the image; what `DRAWN` is drawn by.

    Raises:
        UsageError: There is no such channel.
        UnsupportedImageError: The image is too large for a format.
    """
    if channel == CLEAN:
        return pixels
    if channel == DRAWN:
        return channel_from_name(name, 0)(pixels)
    return operation_from_text(channel)(pixels)


def text_from_channel(channel: str) -> str:
    """Return a channel of a bank as people say it: "JPEG of quality about 70"."""
    operation = operation_from_text(channel)
    phrases = {
        OperationKind.JPEG: "JPEG of quality about {:g}",
        OperationKind.WEBP: "WebP of quality about {:g}",
        OperationKind.RESIZE: "a resize to about {:g} of its size",
        OperationKind.BLUR: "a blur of about {:g} pixels",
    }
    return phrases.get(operation.kind, f"{operation.kind.value} {{:g}}").format(operation.value)


@dataclass(frozen=True, slots=True)
class DrawnChannel:
    """A drawn channel.

    Attributes:
        kind: `UNTOUCHED` or one of `KINDS`.
        seed: Of its strength.
    """

    kind: str
    seed: int

    def __call__(self, pixels: RgbImage) -> RgbImage:
        """Return what comes out.

        Args:
            pixels: Shape (height, width, 3), uint8 RGB; stays as it is.

        Raises:
            UnsupportedImageError: The image is too large for a format.
        """
        if self.kind == UNTOUCHED:
            return pixels
        return _OPERATIONS[self.kind](pixels, np.random.default_rng(self.seed))


def channel_from_name(name: str, seed: int) -> DrawnChannel:
    """Draw the channel of an image.

    Args:
        name: Of the image: not its path, which differs between machines.
        seed: Another one draws other channels.
    """
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    draw = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    kind = UNTOUCHED if draw.random() < UNTOUCHED_SHARE else str(draw.choice(KINDS))
    return DrawnChannel(kind, int(draw.integers(2**32)))


def _recoding(kind: OperationKind, lowest: int, end: int) -> DrawnOperation:
    """Return what encodes at a drawn quality below `end`, and decodes."""
    return lambda pixels, draw: Operation(kind, int(draw.integers(lowest, end)))(pixels)


def _resizing(smallest: float, largest: float) -> DrawnOperation:
    """Return what scales by a drawn factor."""
    return lambda pixels, draw: _scaled(pixels, float(draw.uniform(smallest, largest)), draw)


def _social(pixels: RgbImage, draw: np.random.Generator) -> RgbImage:
    """Shrink the longest side to what a network allows, and compress."""
    factor = min(1.0, int(draw.choice(SOCIAL_SIDES_PX)) / max(pixels.shape[:2]))
    shrunk = _scaled(pixels, factor, draw) if factor < 1 else pixels
    return _recoding(OperationKind.JPEG, 70, 88)(shrunk, draw)


def _crop(pixels: RgbImage, draw: np.random.Generator) -> RgbImage:
    share = draw.uniform(0.6, 0.95)
    height, width = (int(side * share) for side in pixels.shape[:2])
    top = int(draw.integers(pixels.shape[0] - height + 1))
    left = int(draw.integers(pixels.shape[1] - width + 1))
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def _blur(pixels: RgbImage, draw: np.random.Generator) -> RgbImage:
    return Operation(OperationKind.BLUR, float(draw.uniform(0.5, 1.5)))(pixels)


def _scaled(pixels: RgbImage, factor: float, draw: np.random.Generator) -> RgbImage:
    size = [max(LEAST_SIDE_PX, round(side * factor)) for side in pixels.shape[1::-1]]
    interpolation = int(draw.choice(_INTERPOLATIONS))
    return np.asarray(cv2.resize(pixels, size, interpolation=interpolation), np.uint8)


_OPERATIONS: dict[str, DrawnOperation] = {
    "jpeg": _recoding(OperationKind.JPEG, 50, 96),
    "webp": _recoding(OperationKind.WEBP, 60, 91),
    "resize": _resizing(0.4, 2.0),
    "social": _social,
    "crop": _crop,
    "blur": _blur,
    # Shown at some size, and stored without loss.
    "screenshot": _resizing(0.4, 1.2),
}
KINDS = tuple(_OPERATIONS)
"""What may happen to an image, besides nothing."""
