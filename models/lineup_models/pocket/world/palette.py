"""Exact colours behind colour words, in linear light.

A colour is float32 (3, 1, 1): it spreads over planes (3, rows, columns).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lineup.types import Float32Array
from lineup_models.pocket.world.grammar import Colour

Range = tuple[float, float]

HSV_RANGES: Mapping[Colour, tuple[Range, Range, Range]] = {
    Colour.RED: ((-8, 6), (0.80, 0.95), (0.72, 0.92)),
    Colour.ORANGE: ((22, 32), (0.82, 0.97), (0.90, 1.0)),
    Colour.YELLOW: ((47, 56), (0.75, 0.92), (0.92, 1.0)),
    Colour.GREEN: ((95, 140), (0.60, 0.85), (0.50, 0.72)),
    Colour.TURQUOISE: ((172, 184), (0.60, 0.85), (0.70, 0.86)),
    Colour.BLUE: ((212, 230), (0.72, 0.90), (0.65, 0.90)),
    Colour.PURPLE: ((268, 284), (0.55, 0.78), (0.55, 0.75)),
    Colour.PINK: ((326, 340), (0.35, 0.52), (0.93, 1.0)),
    Colour.BROWN: ((18, 28), (0.55, 0.70), (0.36, 0.48)),
    Colour.WHITE: ((0, 360), (0.0, 0.03), (0.93, 0.99)),
    Colour.BLACK: ((0, 360), (0.0, 0.15), (0.09, 0.15)),
}
"""Hue in degrees, saturation and value of the display colour."""


def linear_from_srgb(display: Float32Array) -> Float32Array:
    """Undo the sRGB curve (IEC 61966-2-1); values 0..1, any shape."""
    low = display / 12.92
    high = ((display + 0.055) / 1.055) ** 2.4
    return np.where(display <= 0.04045, low, high).astype(np.float32)


def linear_from_hsv(hue: float, saturation: float, value: float) -> Float32Array:
    """Return linear RGB, float32 (3, 1, 1), of a display colour with hue in degrees."""
    sector = (np.array([5.0, 3.0, 1.0]) + hue / 60) % 6
    ramp = np.clip(np.minimum(sector, 4 - sector), 0, 1)
    return linear_from_srgb((value - value * saturation * ramp).astype(np.float32)).reshape(3, 1, 1)


def colour_from_word(rng: np.random.Generator, colour: Colour) -> Float32Array:
    """Draw one linear RGB, float32 (3, 1, 1), that the word fits."""
    hue, saturation, value = (float(rng.uniform(*ends)) for ends in HSV_RANGES[colour])
    return linear_from_hsv(hue, saturation, value)


def partner_from_colour(rng: np.random.Generator, colour: Colour) -> Float32Array:
    """Draw the second colour of a pattern: cream beside dark bodies, dark beside light ones.

    Beside black and white it is grey, or their checkers would look the same.
    """
    values = (0.88, 0.96)
    if colour in (Colour.YELLOW, Colour.PINK):
        values = (0.2, 0.35)
    elif colour in (Colour.WHITE, Colour.BLACK):
        values = (0.5, 0.6)
    hue, saturation, value = rng.uniform(30, 60), rng.uniform(0, 0.15), rng.uniform(*values)
    return linear_from_hsv(float(hue), float(saturation), float(value))
