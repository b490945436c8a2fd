"""Light of a scene, and the exact colours behind colour words.

A colour is float32 (3, 1, 1) in linear light: it spreads over planes (3, rows, columns).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lineup.types import Float32Array
from lineup_models.pocket.world.grammar import Colour, Light

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


def colour_near(
    rng: np.random.Generator,
    hue: float,
    saturation: float,
    value: float,
    spread: tuple[float, float, float] = (7, 0.07, 0.05),
    darkest: float = 0.0,
) -> Float32Array:
    """Draw a linear RGB, float32 (3, 1, 1), near a display colour with hue in degrees."""
    off = rng.uniform(-1, 1, 3) * spread
    return linear_from_hsv(
        hue + float(off[0]),
        float(np.clip(saturation + off[1], 0, 1)),
        float(np.clip(value + off[2], darkest, 1)),
    )


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


Rgb = tuple[float, float, float]

MOODS: Mapping[Light, tuple[Rgb, Rgb, Rgb, Rgb, Range, Range]] = {
    Light.MORNING: (
        (0.85, 0.74, 0.62), (0.40, 0.44, 0.55), (0.30, 0.48, 0.80), (0.95, 0.78, 0.75),
        (0.30, 0.50), (0.24, 0.34),
    ),
    Light.NOON: (
        (0.95, 0.93, 0.88), (0.36, 0.40, 0.46), (0.10, 0.28, 0.70), (0.60, 0.75, 0.92),
        (0.70, 0.90), (0.28, 0.38),
    ),
    Light.EVENING: (
        (1.00, 0.62, 0.34), (0.34, 0.28, 0.36), (0.20, 0.16, 0.36), (1.00, 0.46, 0.18),
        (0.18, 0.38), (0.17, 0.26),
    ),
    Light.NIGHT: (
        (0.30, 0.38, 0.58), (0.10, 0.13, 0.24), (0.008, 0.014, 0.045), (0.04, 0.06, 0.14),
        (0.45, 0.75), (0.06, 0.10),
    ),
    Light.FROM_LEFT: (
        (0.95, 0.88, 0.76), (0.26, 0.27, 0.30), (0.40, 0.42, 0.45), (0.70, 0.68, 0.64),
        (0.30, 0.60), (0.20, 0.32),
    ),
}  # fmt: skip
"""Direct light, light from everywhere, sky at the top and at the horizon (with haze), linear RGB;
ranges of the light's height (0 horizon, 1 zenith) and of the mean that the exposure aims at. The
lamp from the right is the one from the left, mirrored."""


@dataclass(frozen=True, slots=True)
class Rig:
    """The light of one picture, drawn from `MOODS`; colours are float32 (3, 1, 1).

    Attributes:
        direction: Unit vector to the light: right, up, to the camera.
        night: Whether windows and lamps glow.
    """

    direction: tuple[float, float, float]
    sun: Float32Array
    ambient: Float32Array
    zenith: Float32Array
    horizon: Float32Array
    brightness: float
    night: bool


def rig_from_light(light: Light, rng: np.random.Generator) -> Rig:
    """Draw the light of one picture."""
    mood = MOODS[Light.FROM_LEFT if light is Light.FROM_RIGHT else light]
    sun, ambient, zenith, horizon, elevation, brightness = mood
    sides = {Light.FROM_LEFT: -1.0, Light.FROM_RIGHT: 1.0}
    side = sides.get(light, float(rng.choice([-1.0, 1.0])))
    up = float(rng.uniform(*elevation))
    across = side * float(rng.uniform(0.55, 0.9)) * float(np.sqrt(1 - up**2))
    front = float(np.sqrt(max(1 - up**2 - across**2, 0.05)))
    norm = float(np.sqrt(up**2 + across**2 + front**2))
    return Rig(
        direction=(across / norm, up / norm, front / norm),
        sun=_jittered(sun, rng),
        ambient=_jittered(ambient, rng),
        zenith=_jittered(zenith, rng),
        horizon=_jittered(horizon, rng),
        brightness=float(rng.uniform(*brightness)),
        night=light is Light.NIGHT,
    )


def _jittered(colour: Rgb, rng: np.random.Generator) -> Float32Array:
    overall = rng.uniform(0.88, 1.12)
    jittered = np.array(colour) * overall * rng.uniform(0.94, 1.06, 3)
    return jittered.astype(np.float32).reshape(3, 1, 1)
