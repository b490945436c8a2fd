"""Training, validation and test sets: numbered examples that never share a seed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from lineup.errors import UsageError
from lineup.types import RgbImage
from lineup_models.pocket.world.grammar import Scene
from lineup_models.pocket.world.render import pixels_from_scene
from lineup_models.pocket.world.scene import scene_from_seed


class Split(str, Enum):
    """A set of examples."""

    TRAINING = "training"
    VALIDATION = "validation"
    TEST = "test"


FIRST_SEEDS = {Split.TRAINING: 0, Split.VALIDATION: 1 << 30, Split.TEST: 1 << 31}
"""Seed of example 0; example i has the seed i above it."""

SPLIT_SIZE = 1 << 30
"""Examples of each split; more would run into the next split's seeds."""


@dataclass(frozen=True, slots=True)
class Example:
    """One picture, uint8 RGB (size, size, 3), of its scene, whose full caption is the first."""

    scene: Scene
    pixels: RgbImage
    captions: tuple[str, ...]


def seed_from_index(split: Split, index: int) -> int:
    """Return the seed of an example.

    Raises:
        UsageError: The index lies outside the split.
    """
    if not 0 <= index < SPLIT_SIZE:
        raise UsageError(
            f"example {index} asked for; the indices of a split are 0..{SPLIT_SIZE - 1}"
        )
    return FIRST_SEEDS[split] + index


def example_from_index(split: Split, index: int, size_px: int = 256) -> Example:
    """Draw one example of a split; the same index gives the same example."""
    seed = seed_from_index(split, index)
    scene = scene_from_seed(seed)
    return Example(scene, pixels_from_scene(scene, seed, size_px), scene.captions())
