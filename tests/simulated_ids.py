"""Decoder architectures and simulated generators by the ids that the simulator gives them."""

from __future__ import annotations

import re

from lineup_models.simulator.architecture import (
    Activation,
    Architecture,
    Cell,
    Level,
    Norm,
    Operation,
    Upsampler,
)
from lineup_models.simulator.identity import ModelIdentity


def architecture_from_id(text: str) -> Architecture:
    """Return the architecture whose id is `text`."""
    start, *levels = text.split("-")
    return Architecture(int(start), tuple(map(_level_from_text, levels)))


def _level_from_text(text: str) -> Level:
    match = re.fullmatch(r"([a-z]{2})([248])((?:\.[a-z]{5})+)", text)
    assert match is not None, text
    cells = tuple(map(_cell_from_text, match[3][1:].split(".")))
    return Level(Upsampler(match[1]), int(match[2]), cells)


def _cell_from_text(text: str) -> Cell:
    first, second, third = (Operation(letter) for letter in text[:3])
    return Cell((first, second, third), Activation(text[3]), Norm(text[4]))


def identity_from_id(text: str) -> ModelIdentity:
    """Return the generator whose id is `text`."""
    weights, seed, architecture = text.split("/")
    return ModelIdentity(weights, int(seed), architecture_from_id(architecture))
