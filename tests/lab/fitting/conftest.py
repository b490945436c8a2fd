from collections.abc import Callable

import numpy as np
import pytest

from lineup.results import REAL, UNKNOWN
from lineup.types import Float32Array
from lineup_lab.fitting.table import LabelledQuery

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
    for label in (*CANDIDATES, UNKNOWN, REAL):
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
                scores["real-head"] = {REAL: (label == REAL) * real_strength + rng.normal()}
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
