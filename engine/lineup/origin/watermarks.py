"""Open watermarks: payloads of a few bytes that reference implementations hide in the chroma.

The method is dwtDct of invisible-watermark 0.2 (`imwatermark/maxDct.py`), which takes no DCT in
spite of its name: blocks of 8x8 px, row by row, carry one bit each, the payload over and over. Of
a block's 4x4 sums of 2x2 px of U (Haar, one level), the one largest in magnitude but for the first
is set to a quarter of 36 above a multiple of 36 for a 0, to three quarters for a 1.

Reading is better than the package's. Blocks without a mark (flat, clipped to white) all read
the same, and outvote the rest where a bit is compared with 1/2; here it is compared with the mean
of all bits. And U starts at 128 where the writer embedded into bytes, at 1/2 where into floats.

Nothing is searched: a resize, or a crop at the left, the top, or of the width loses the mark.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache, cached_property
from math import comb

import cv2
import numpy as np

from lineup.claims import Claim, ClaimKind
from lineup.documents import DocumentFormat
from lineup.errors import LineupError
from lineup.paths import shipped_dir
from lineup.types import AnyArray, Float32Array, RgbImage

MIN_PIXELS = 256 * 256
"""The package embeds into no smaller image."""

MOST_ACCIDENTAL = 1e-6
"""Rarest accident that is still taken for one.

Bits of natural images are no coins, and this is as if they were: measured by
`benchmarks/watermarks.py`, which finds no claim in 13,589 readings of 2,464 unmarked images.
"""

_PROMISING = 1e-2
"""Accident, on a part of the blocks, above which the others are not read."""

_SCREENED_BLOCKS, _READ_BLOCKS = 1024, 16384
_STEP = np.float32(36)


class Carrier(str, Enum):
    """What the writer gave to the encoder, which takes BGR."""

    BYTES = "bytes"
    FLOATS = "floats"
    SWAPPED_FLOATS = "floats, red as blue"


@dataclass(frozen=True)
class Mark:
    """A known payload; `text` or `bits` states it."""

    name: str
    carrier: Carrier
    text: str = ""
    bits: str = ""

    @cached_property
    def payload(self) -> AnyArray:
        """Shape (bits,), bool."""
        bits = self.bits or "".join(f"{one:08b}" for one in self.text.encode("ascii"))
        return np.array([bit == "1" for bit in bits])


@dataclass(frozen=True, slots=True)
class _Marks:
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Watermark:
    """A known payload that was found.

    Attributes:
        name: Generator that embeds it.
        agreeing_bits: How many bits of the payload are read as it has them.
        bits: Of the payload, as far as the image has room for it.
        accident_probability: That so many agree with any known payload, if bits were coins.
    """

    name: str
    agreeing_bits: int
    bits: int
    accident_probability: float


def claim_from_pixels(pixels: RgbImage) -> Claim | None:
    """Return what the known watermark of an image claims; see `watermark_from_pixels`."""
    found = watermark_from_pixels(pixels)
    if found is None:
        return None
    agree = f"{found.agreeing_bits} of {found.bits} known watermark bits agree"
    strength = f"{agree}, by accident {found.accident_probability:.0e}"
    return Claim("watermark", ClaimKind.GENERATED, strength, generator=found.name)


def watermark_from_pixels(pixels: RgbImage) -> Watermark | None:
    """Return the known watermark of an image, or None.

    Args:
        pixels: Shape (height, width, 3), uint8, 0..255, RGB order, as the writer saved it.
    """
    height, width = pixels.shape[:2]
    if height * width < MIN_PIXELS or min(height, width) < 8:
        return None
    # A mark repeats all over the image, so that few blocks tell who has none.
    if _likeliest(pixels, _SCREENED_BLOCKS).accident_probability > _PROMISING:
        return None
    found = _likeliest(pixels, _READ_BLOCKS)
    return found if found.accident_probability < MOST_ACCIDENTAL else None


def _likeliest(pixels: RgbImage, most_blocks: int) -> Watermark:
    """Return the known payload that agrees best, however badly."""
    rows, columns = pixels.shape[0] // 8, pixels.shape[1] // 8
    # Odd, so that fewer steps fall in with the length of a payload.
    step = -(-rows * columns // most_blocks) | 1
    band = pixels[: rows * 8, : columns * 8].reshape(rows, 8, columns * 8, 3)[::step]
    scores = _scores_from_band(band.reshape(-1, columns * 8, 3))
    index = (np.arange(0, rows, step)[:, None] * columns + np.arange(columns)).ravel()
    known = known_marks()
    return min(
        (_compared(mark, scores[mark.carrier], index, len(known)) for mark in known),
        key=lambda found: found.accident_probability,
    )


def _scores_from_band(rgb: RgbImage) -> dict[Carrier, AnyArray]:
    """Return which blocks read as 1, shape (blocks,), bool, for each way of embedding.

    Args:
        rgb: Shape (height, width, 3), both multiples of 8.
    """
    size = (rgb.shape[1] // 2, rgb.shape[0] // 2)
    # Means of 2x2 px; rounding them moves a sum by at most 1, and marks stand 9 from a border.
    means = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    # U = 0.492 (B - Y), Y = 0.299 R + 0.587 G + 0.114 B; twice, for the Haar sum of four is halved.
    red, green, blue = (2 * 0.492 * one for one in cv2.split(means.astype(np.float32)))
    blue_chroma = 0.886 * blue - 0.587 * green - 0.299 * red
    red_chroma = 0.886 * red - 0.587 * green - 0.299 * blue
    return {
        Carrier.BYTES: _scores(blue_chroma + 2 * 128),
        Carrier.FLOATS: _scores(blue_chroma + 1),
        Carrier.SWAPPED_FLOATS: _scores(red_chroma + 1),
    }


def _scores(sums: Float32Array) -> AnyArray:
    largest = np.abs(sums)
    largest[::4, ::4] = 0  # the first of a block carries nothing
    for _ in range(2):
        largest = np.maximum(largest[::2], largest[1::2])
        largest = np.maximum(largest[:, ::2], largest[:, 1::2])
    return np.asarray(np.fmod(largest, _STEP) > _STEP / 2).ravel()


def _compared(mark: Mark, scores: AnyArray, index: AnyArray, tried: int) -> Watermark:
    payload = mark.payload
    bit = index % len(payload)
    votes, ones = np.bincount(bit, minlength=len(payload)), np.bincount(bit, scores, len(payload))
    seen = votes > 0
    shares = ones[seen] / votes[seen]
    agreeing = int(((shares > shares.mean()) == payload[seen]).sum())
    accident = min(1.0, tried * _accident(agreeing, len(shares)))
    return Watermark(mark.name, agreeing, len(shares), accident)


@cache
def _accident(agreeing: int, bits: int) -> float:
    """Return the probability that at least so many of so many coins fall as foretold."""
    return float(sum(comb(bits, count) for count in range(agreeing, bits + 1)) / 2**bits)


def _contradictions(document: _Marks) -> Iterator[str]:
    for index, mark in enumerate(document.marks):
        if bool(mark.text) == bool(mark.bits):
            yield f"marks[{index}]: expected either text or bits"
        if not mark.text.isascii() or set(mark.bits) - {"0", "1"}:
            yield f"marks[{index}]: expected ASCII text, or bits of 0 and 1"


_FORMAT = DocumentFormat(
    _Marks, LineupError, "Install lineup again.", syntax="toml", contradictions=_contradictions
)


@cache
def known_marks() -> tuple[Mark, ...]:
    """Return the shipped table of payloads."""
    return _FORMAT.read(shipped_dir() / "watermarks.toml").marks
