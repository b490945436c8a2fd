"""Training, validation and test sets: numbered examples that never share a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np

from lineup.errors import UsageError
from lineup.types import RgbImage
from lineup_models.pocket.world.render import pixels_from_scene
from lineup_models.pocket.world.scene import Scene, scene_from_seed


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
    """One picture with what is true of it.

    Attributes:
        seed: Of the scene and of the picture.
        scene: What the picture shows.
        pixels: uint8 RGB (size, size, 3).
        captions: The scene's captions, the full one first.
    """

    seed: int
    scene: Scene
    pixels: RgbImage
    captions: tuple[str, ...]

    def caption(self, version: int) -> str:
        """Return one caption; `version` (0 and above) counts round, 0 is the full one."""
        return self.captions[version % len(self.captions)]


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
    return Example(seed, scene, pixels_from_scene(scene, seed, size_px), scene.captions())


def batches(
    split: Split, indices: range, batch: int, size_px: int = 256
) -> Iterator[tuple[RgbImage, tuple[str, ...]]]:
    """Yield pixels, uint8 (images, size, size, 3), and full captions; the last may be smaller."""
    for first in range(0, len(indices), batch):
        examples = [example_from_index(split, i, size_px) for i in indices[first : first + batch]]
        pixels = np.stack([example.pixels for example in examples])
        yield pixels, tuple(example.captions[0] for example in examples)
