"""Vectors of a query and its resyntheses by one model, in few calls, kept in the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lineup.evidence.cache import ResultCache
from lineup.evidence.resynthesis_pictures import Picture
from lineup.trace import CostMeter
from lineup.types import Float32Array, RgbImage

IMAGES_PER_CALL = 32
"""Bounds the memory of a call when a lineup has many candidates."""


@dataclass(frozen=True, slots=True)
class VectorModel:
    """A model that turns images into vectors.

    Attributes:
        stage: Whose cost it is.
        parts: Identity of what it computes, as JSON values.
        compute: Returns one L2-normalised float32 row per image.
    """

    stage: str
    parts: Mapping[str, Any]
    compute: Callable[[Sequence[RgbImage]], Float32Array]


class VectorTable:
    """Vectors by one model, computed where the cache has none.

    Args:
        model: Computes them.
        cache: Keeps those of resyntheses; None keeps nothing.
    """

    def __init__(self, model: VectorModel, cache: ResultCache | None) -> None:
        self._model = model
        self._cache = cache

    def rows(
        self,
        query: RgbImage,
        pictures: Sequence[Picture],
        meter: CostMeter,
        *,
        known_query: Float32Array | None = None,
    ) -> Float32Array:
        """Return the query's vector and below it one per picture, shape (1 + pictures, D).

        The query rides in the first call with the pictures, so it costs no call of its own.

        Args:
            query: Shape (H, W, 3), uint8 RGB; never cached.
            pictures: Resyntheses.
            meter: Counts the calls.
            known_query: The query's vector, shape (D,), when it is known already.
        """
        rows: list[Float32Array | None] = [known_query, *map(self._cached, pictures)]
        meter.add_cached(self._model.stage, sum(row is not None for row in rows[1:]))
        images = [query, *(one.pixels for one in pictures)]
        missing = [index for index, row in enumerate(rows) if row is None]
        for start in range(0, len(missing), IMAGES_PER_CALL):
            chunk = missing[start : start + IMAGES_PER_CALL]
            with meter.call(self._model.stage, len(chunk)):
                computed = self._model.compute([images[index] for index in chunk])
            for index, row in zip(chunk, computed, strict=True):
                rows[index] = row
                if index > 0:
                    self._keep(pictures[index - 1], row)
        return np.stack([row for row in rows if row is not None])

    def _cached(self, picture: Picture) -> Float32Array | None:
        return None if self._cache is None else self._cache.features(self._parts(picture))

    def _keep(self, picture: Picture, row: Float32Array) -> None:
        if self._cache is not None:
            self._cache.write_features(self._parts(picture), row)

    def _parts(self, picture: Picture) -> Mapping[str, Any]:
        return {"of": dict(picture.parts), **self._model.parts}
