"""Between 8-bit images and what an autoencoder takes and gives."""

from __future__ import annotations

import numpy as np
from PIL import Image

from lineup.types import Float32Array, RgbImage


def images_from_decoded(decoded: Float32Array) -> list[RgbImage]:
    """Return 8-bit images of a decoder's output, rounded as diffusers' `numpy_to_pil` does.

    Args:
        decoded: Shape (images, 3, height, width), float32, nominally -1..1; the rest is cut off.
    """
    unit = np.clip(decoded * np.float32(0.5) + np.float32(0.5), 0, 1).transpose(0, 2, 3, 1)
    pixels: RgbImage = (unit * np.float32(255)).round().astype(np.uint8)
    return list(np.ascontiguousarray(pixels))


def encoder_input_from_image(image: RgbImage | Float32Array) -> Float32Array:
    """Return what an autoencoder's encoder takes: shape (1, 3, height, width), float32, -1..1.

    Args:
        image: Shape (height, width, 3), RGB: uint8 0..255, or float32 -1..1.
    """
    pixels = image
    if image.dtype == np.uint8:
        pixels = image.astype(np.float32) / np.float32(255) * np.float32(2) - np.float32(1)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)


def resized(image: RgbImage, width_px: int, height_px: int) -> RgbImage:
    """Return an image of another size by Pillow's Lanczos filter, as diffusers does.

    Args:
        image: Shape (height, width, 3), uint8 RGB; returned as it is when it has the size.
        width_px: Wanted width.
        height_px: Wanted height.
    """
    if image.shape[:2] == (height_px, width_px):
        return image
    scaled = Image.fromarray(image).resize((width_px, height_px), Image.Resampling.LANCZOS)
    return np.asarray(scaled)
