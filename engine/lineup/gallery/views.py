"""What is kept of an image that is enrolled: what the models say of it in each channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lineup.channels import BANK, CLEAN, DRAWN, through_channel
from lineup.gallery.support import NORM_TOLERANCE, STRENGTHS, view_key
from lineup.types import Float32Array, HalfArray, RgbImage

if TYPE_CHECKING:
    from lineup.fingerprint import FingerprintExtractor
    from lineup.reference import ReferenceEncoder

ENROLLED_CHANNELS = (*BANK, DRAWN)
"""What images are enrolled through: the bank, and a drawn channel to calibrate on."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageViews:
    """An image in all channels.

    Attributes:
        fingerprint: Of the clean one, shape (D,), float32.
        rows: By the keys of `SupportSet.views`: one row, or one number, each.
    """

    fingerprint: Float32Array
    rows: Mapping[str, Float32Array]


def views_from_image(
    pixels: RgbImage,
    name: str,
    extractor: FingerprintExtractor,
    encoder: ReferenceEncoder | None = None,
    *,
    channels: Sequence[str] = ENROLLED_CHANNELS,
) -> ImageViews:
    """Pass an image through channels and ask the models about each.

    Args:
        pixels: Shape (height, width, 3), uint8 RGB.
        name: What the drawn channel is drawn by: the hash of its file.
        extractor: Computes fingerprints.
        encoder: Computes embeddings; None keeps none.
        channels: Which; the clean one is always among them.

    Raises:
        BackendError: A model failed.
        UnsupportedImageError: The image is too large for a channel's format.
    """
    names = tuple(dict.fromkeys([CLEAN, *channels]))
    images = [through_channel(pixels, channel, name) for channel in names]
    signals = extractor.signals_from_tiles([extractor.tiles(image) for image in images])
    rows: dict[str, Float32Array] = {}
    for index, channel in enumerate(names):
        rows[view_key(channel, STRENGTHS)] = signals.strengths[index]
        if channel != CLEAN:
            rows[view_key(channel)] = signals.fingerprints[index]
    if encoder is not None:
        embeddings = encoder.embeddings(images)
        rows |= {view_key(one, encoder.key): embeddings[at] for at, one in enumerate(names)}
    return ImageViews(signals.fingerprints[0], rows)


def stacked(views: Sequence[ImageViews]) -> tuple[Float32Array, dict[str, HalfArray]]:
    """Return the clean fingerprints (N, D) and the views of several images, at least one."""
    keys = views[0].rows
    return (
        np.stack([one.fingerprint for one in views]),
        {key: np.stack([one.rows[key] for one in views]).astype(np.float16) for key in keys},
    )


def is_usable(views: ImageViews) -> bool:
    """Tell whether all rows are finite with length 1, and the strengths above 0."""
    rows = [views.fingerprint, *(row for row in views.rows.values() if row.ndim)]
    strengths = np.array([row for row in views.rows.values() if not row.ndim])
    lengths = np.array([np.linalg.norm(row) for row in rows])
    return bool((np.abs(lengths - 1) <= NORM_TOLERANCE).all() and (strengths > 0).all())
