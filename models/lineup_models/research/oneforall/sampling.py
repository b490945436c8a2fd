"""Which generators and which photographs make the batch of a step; all from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from lineup.errors import UsageError


class SetSampling(str, Enum):
    """How a batch's photographs are shared between its generators."""

    MULTIPLE = "multiple"
    """Every generator gets photographs of its own."""

    SINGLE = "single"
    """All generators get the same photographs: nothing but the generator tells them apart."""


@dataclass(frozen=True, slots=True)
class BatchShape:
    """Numbers of a batch.

    Attributes:
        models: Generators of a batch.
        images_per_model: Images of each, at least 2, so that every one has a positive.
        photographs: Photographs that go through no generator.
        single_share: Share of the batches that are sampled as a single set, 0..1.
    """

    models: int = 24
    images_per_model: int = 4
    photographs: int = 16
    single_share: float = 0.25


@dataclass(frozen=True, slots=True)
class Draw:
    """A batch: which photographs go through which generators.

    Attributes:
        sampling: Single or multiple set.
        models: Generators, by number.
        images: Photographs of each generator, by number.
        photographs: Photographs that stay as they are, by number.
    """

    sampling: SetSampling
    models: tuple[int, ...]
    images: tuple[tuple[int, ...], ...]
    photographs: tuple[int, ...]


def draw_from_seed(
    seed: int | Sequence[int], shape: BatchShape, *, models: int, photographs: int
) -> Draw:
    """Draw a batch.

    Args:
        seed: The same seed and sizes give the same draw.
        shape: Numbers of the batch.
        models: Generators to choose from.
        photographs: Photographs to choose from.

    Raises:
        UsageError: There are fewer generators or photographs than a batch needs.
    """
    random = np.random.default_rng(seed)
    single = bool(random.random() < shape.single_share)
    sampling = SetSampling.SINGLE if single else SetSampling.MULTIPLE
    through = shape.images_per_model * (1 if single else shape.models)
    check_enough("generators", shape.models, models)
    check_enough("photographs", through + shape.photographs, photographs)
    chosen = random.choice(models, shape.models, replace=False)
    # None twice: an image must not be known by its content.
    drawn = random.choice(photographs, through + shape.photographs, replace=False)
    sets = drawn[:through].reshape(-1, shape.images_per_model).tolist()
    images = tuple(tuple(row) for row in (sets * shape.models if single else sets))
    return Draw(sampling, tuple(chosen.tolist()), images, tuple(drawn[through:].tolist()))


def check_enough(what: str, needed: int, available: int) -> None:
    """Raise when there is less of something than a batch needs.

    Raises:
        UsageError: Fewer are available than needed.
    """
    if needed > available:
        raise UsageError(
            f"A batch needs {needed} {what}, but there are {available}.",
            hint="Choose smaller batches, or give more photographs or generators.",
        )
