"""From whatever a decoder returns to upright 8-bit RGB."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lineup.types import AnyArray, RgbImage

_OPAQUE = 255


@dataclass(frozen=True, slots=True)
class Raster:
    """Decoded pixels in the channels of the file.

    Attributes:
        pixels: Shape (height, width) for grey, (height, width, 3) for RGB or (height, width, 4) for
            RGB and straight alpha; uint8 0..255, or uint16 0..2**bit_depth - 1.
        bit_depth: Bits per channel of the file, also when `pixels` were reduced by the decoder.
        orientation: EXIF orientation that is still to be applied, 1..8.
        notes: Remarks for the user.
    """

    pixels: AnyArray
    bit_depth: int
    orientation: int = 1
    notes: tuple[str, ...] = ()


def rgb_from_raster(raster: Raster) -> tuple[RgbImage, tuple[str, ...]]:
    """Convert decoded pixels to upright 8-bit RGB.

    Returns:
        Pixels of shape (height, width, 3), uint8, and the remarks on what was converted.
    """
    pixels, notes = raster.pixels, list(raster.notes)
    if raster.bit_depth > 8:
        notes.append(f"{raster.bit_depth}-bit reduced to 8")
    if pixels.dtype == np.uint16:
        pixels = _reduced_to_8_bits(pixels, raster.bit_depth)
    if pixels.ndim == 2:
        notes.append("grey expanded to RGB")
        pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    elif pixels.shape[2] == 4:
        if pixels[..., 3].min() < _OPAQUE:
            notes.append("alpha composited over white")
            pixels = _composited_over_white(pixels)
        else:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB)
    if raster.orientation != 1:
        notes.append(f"orientation {raster.orientation} applied")
        pixels = upright_from_stored(pixels, raster.orientation)
    return np.ascontiguousarray(pixels), tuple(notes)


def upright_from_stored(pixels: AnyArray, orientation: int) -> AnyArray:
    """Turn an image as EXIF 2.32, tag 274 (Orientation) says.

    Args:
        pixels: Shape (height, width) or (height, width, channels).
        orientation: Which sides the stored first row and column are, 1..8.

    Returns:
        The upright image; sides are swapped for 5 to 8.
    """
    if orientation in (5, 6, 7, 8):
        pixels = cv2.transpose(pixels)
    # What is left after the transposition: 0 turns top and bottom, 1 left and right, -1 both.
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return pixels if flip is None else cv2.flip(pixels, flip)


def _reduced_to_8_bits(pixels: AnyArray, bit_depth: int) -> AnyArray:
    """Scale so that white stays white, and round; at 16 bits this is v / 257, without ties."""
    return cv2.convertScaleAbs(pixels, alpha=255 / ((1 << bit_depth) - 1))


def _composited_over_white(rgba: AnyArray) -> AnyArray:
    """Return round((colour * alpha + 255 * (255 - alpha)) / 255) of uint8 RGBA, shape (h, w, 4)."""
    rgb = np.empty((*rgba.shape[:2], 3), np.uint8)
    alpha = rgba[..., 3].astype(np.uint16)
    white = (_OPAQUE - alpha) * _OPAQUE + _OPAQUE // 2  # the half rounds; the sum stays below 2**16
    for channel in range(3):
        rgb[..., channel] = (rgba[..., channel] * alpha + white) // _OPAQUE
    return rgb
