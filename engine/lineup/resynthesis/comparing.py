"""Vectors of queries and their resyntheses, computed where the cache has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lineup.query import Query
from lineup.results import Resynthesis
from lineup.resynthesis.cache import ResultCache
from lineup.types import Float32Array, RgbImage

IMAGES_PER_CALL = 32
"""Bounds the memory of a call when a lineup has many candidates."""


@dataclass(frozen=True, slots=True)
class VectorModel:
    """A model that turns images into vectors, which are kept for resyntheses.

    Attributes:
        stage: Whose cost it is.
        parts: Identity of what it computes, as JSON values.
        compute: Returns one L2-normalised float32 row per image.
        cache: Keeps the vectors of resyntheses; None keeps nothing.
    """

    stage: str
    parts: Mapping[str, Any]
    compute: Callable[[Sequence[RgbImage]], Float32Array]
    cache: ResultCache | None

    def rows(self, query: Query, *, known: Float32Array | None = None) -> Float32Array:
        """Return the query's vector and below it one per resynthesis, shape (1 + N, D).

        The query rides in the first call with its resyntheses, so it costs no call of its own; its
        vector is never cached.

        Args:
            query: With its resyntheses; its trace counts the calls.
            known: The query's vector, shape (D,), when it is known already.
        """
        assert query.pixels is not None
        rows: list[Float32Array | None] = [known, *map(self._cached, query.made)]
        query.trace.add_cached(self.stage, sum(row is not None for row in rows[1:]))
        images = [query.pixels, *(one.pixels for one in query.made)]
        missing = [index for index, row in enumerate(rows) if row is None]
        for start in range(0, len(missing), IMAGES_PER_CALL):
            chunk = missing[start : start + IMAGES_PER_CALL]
            with query.trace.call(self.stage, len(chunk)):
                computed = self.compute([images[index] for index in chunk])
            for index, row in zip(chunk, computed, strict=True):
                rows[index] = row
                if index > 0 and self.cache is not None:
                    self.cache.write_features(self._parts(query.made[index - 1]), row)
        return np.stack([row for row in rows if row is not None])

    def _cached(self, made: Resynthesis) -> Float32Array | None:
        return None if self.cache is None else self.cache.features(self._parts(made))

    def _parts(self, made: Resynthesis) -> Mapping[str, Any]:
        return {"of": dict(made.parts), **self.parts}
