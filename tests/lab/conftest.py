from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest

from lineup.results import GENERATED, PHOTOGRAPH
from lineup.types import Float32Array
from lineup_lab.dataset import LabelledSource
from lineup_lab.table import LabelledQuery

CANDIDATES = ("ash", "birch", "cedar", "dogwood")
FAMILIES = {"ash": "vae-1", "birch": "vae-1", "cedar": "vae-2", "dogwood": "vae-3"}
DIMENSION = 24


def world_queries(
    per_label,
    *,
    seed,
    strength=3.0,
    sibling_likeness=0.0,
    copies=0,
    noise=1.0,
    real_strength=None,
    without=(),
):
    """Queries whose scores are Gaussian: the maker's is `strength` higher, siblings share of it.

    `copies` further evidences repeat the first one's noise, so that they are wholly dependent.
    """
    rng = np.random.default_rng(seed)
    queries = []
    for label in (*CANDIDATES, GENERATED, PHOTOGRAPH):
        for number in range(per_label):
            content = rng.normal(0.0, 2.0)  # what the image shows moves all scores together
            values = {}
            for name in CANDIDATES:
                gain = strength if name == label else 0.0
                if {name, label} == {"ash", "birch"}:
                    gain = sibling_likeness * strength
                values[name] = 0.5 + 0.02 * (content + gain + rng.normal(0.0, noise))
            scores = {"resynthesis": values}
            for copy in range(copies):
                scores[f"copy-{copy}"] = {key: 10 * value for key, value in values.items()}
            other = {}
            for name in CANDIDATES:
                gain = strength if name == label else 0.0
                if {name, label} == {"ash", "birch"}:
                    gain = sibling_likeness * strength
                other[name] = gain + rng.normal(0.0, noise)
            scores["fingerprint"] = other
            if real_strength is not None:
                score = (label == PHOTOGRAPH) * real_strength + rng.normal()
                scores["real-head"] = {PHOTOGRAPH: score}
            for name in without:
                del scores[name]
            queries.append(LabelledQuery(f"{seed}-{label}-{number}", label, scores))
    return queries


@pytest.fixture(scope="session")
def world():
    return world_queries


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

    parts = ()

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
