from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lineup.types import Float32Array

DIMENSION = 24


@pytest.fixture
def rows() -> Callable[..., Float32Array]:
    """Fingerprints around a direction, with noise; without a direction, noise alone."""

    def build(
        count: int, direction: int | None = None, *, noise: float = 0.5, seed: int = 0
    ) -> Float32Array:
        made = noise * np.random.default_rng(seed).normal(size=(count, DIMENSION))
        if direction is not None:
            made[:, direction] += 2.0
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        return made.astype(np.float32)

    return build
