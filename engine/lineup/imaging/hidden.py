"""What "stealth pnginfo" writers hide in the lowest bits of pixels, column by column.

A signature of 15 bytes, a count of bits (32 bits, big-endian) and as many bits of text, each byte
from its highest bit on: in alpha (NovelAI/novelai-image-metadata), or in red, green and blue in
turn (ashen-sensored/sd_webui_stealth_pnginfo). Only the decoder sees alpha, so it is read here.
"""

from __future__ import annotations

import numpy as np

from lineup.types import AnyArray

SIGNATURE_BYTES = 15
_ALPHA_SIGNATURES = (b"stealth_pnginfo", b"stealth_pngcomp")
_COLOUR_SIGNATURES = (b"stealth_rgbinfo", b"stealth_rgbcomp")
_HEAD_BYTES = SIGNATURE_BYTES + 4
MAX_HIDDEN_BYTES = 2**20
"""Far above any prompt; of more, only the signature is kept."""


def hidden_from_pixels(pixels: AnyArray) -> bytes | None:
    """Return the signature and what its writer hid after it, or None.

    Args:
        pixels: As they are stored, before any rotation: shape (height, width), or
            (height, width, 3 or 4) of RGB and alpha.

    Returns:
        The signature alone where the rest is too long, or longer than the image.
    """
    if pixels.ndim != 3 or pixels.dtype != np.uint8:
        return None
    for signatures, channels in (
        (_ALPHA_SIGNATURES, pixels[..., 3:]),
        (_COLOUR_SIGNATURES, pixels[..., :3]),
    ):
        head = _lowest_bits(channels, _HEAD_BYTES)
        signature = head[:SIGNATURE_BYTES]
        if signature in signatures and len(head) == _HEAD_BYTES:
            count = int.from_bytes(head[SIGNATURE_BYTES:], "big") // 8
            text = _lowest_bits(channels, _HEAD_BYTES + count)[_HEAD_BYTES:]
            return signature + text if len(text) == count <= MAX_HIDDEN_BYTES else signature
    return None


def _lowest_bits(channels: AnyArray, count: int) -> bytes:
    """Return so many bytes, or what there is, but never much more than is kept."""
    bits = 8 * min(count, MAX_HIDDEN_BYTES + _HEAD_BYTES)
    channels = channels[:bits]  # one column is enough, and most of it need not be touched
    height, _, per_pixel = channels.shape
    columns = channels[:, : -(-bits // max(1, height * per_pixel))].swapaxes(0, 1)
    return np.packbits(columns.reshape(-1)[: bits // 8 * 8] & 1).tobytes()
