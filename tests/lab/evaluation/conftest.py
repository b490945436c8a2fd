from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest

from lineup_lab.evaluation.dataset import LabelledSource


@pytest.fixture
def make_source() -> Callable[..., LabelledSource]:
    """Build a source of synthetic fingerprints: a direction, plus noise of a given strength."""

    def build(
        name: str, count: int, *, direction: int | None = None, noise: float = 1.0, seed: int = 0
    ) -> LabelledSource:
        rng = np.random.default_rng([seed, *name.encode()])
        rows = noise * rng.normal(size=(count, 32)) / np.sqrt(32)
        if direction is not None:
            rows[:, direction] += 1.0
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        ids = tuple(hashlib.sha256(f"{name}/{i}".encode()).hexdigest() for i in range(count))
        return LabelledSource(name=name, ids=ids, fingerprints=rows.astype(np.float32))

    return build


class ColourExtractor:
    """Stands in for a model: the fingerprint is the direction of the mean colour."""

    def tiles(self, pixels):
        return pixels.mean(axis=(0, 1)).astype(np.uint8).reshape(1, 1, 1, 3)

    def fingerprints_from_tiles(self, tiles):
        rows = np.stack([image.reshape(-1, 3).mean(axis=0) for image in tiles])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    def notes(self, pixels):
        return ()


@pytest.fixture
def extractor() -> ColourExtractor:
    return ColourExtractor()
