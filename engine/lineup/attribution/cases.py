"""Images on their way to a verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lineup.evidence.provided import ProvidedImage
from lineup.evidence.resynthesis import Resynthesis
from lineup.evidence.resynthesis_batch import RedrawQuery
from lineup.results import Evidence
from lineup.types import Float32Array, RgbImage, RgbTiles


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """An image to attribute.

    Attributes:
        pixels: Shape (height, width, 3), uint8 RGB, as decoded: never resized.
        sha256: Hash of the image's file; resyntheses made elsewhere are filed under it.
        tiles: What the extractor cuts it into, where that is done.
    """

    pixels: RgbImage
    sha256: str | None = None
    tiles: RgbTiles | None = None


class Case:
    """A query and what is known about it so far.

    Attributes:
        query: As given.
        provided: Resyntheses made elsewhere, per candidate.
        wanted: The evidence to compute.
        fingerprint: Shape (D,), float32, L2-normalised; None until it is computed.
        evidence: What there is, cheapest first.
        resynthesis: What the candidates drew; None when none did.
        notes: Evidence that was left out, and why.
        preprocess_ms: Cutting the query into tiles.
        inference_ms: All models.
    """

    def __init__(
        self,
        query: Query,
        provided: Mapping[str, Sequence[ProvidedImage]],
        wanted: tuple[str, ...],
    ) -> None:
        self.query = query
        self.provided = provided
        self.wanted = wanted
        self.fingerprint: Float32Array | None = None
        self.evidence: list[Evidence] = []
        self.resynthesis: Resynthesis | None = None
        self.notes: list[str] = []
        self.preprocess_ms = 0.0
        self.inference_ms = 0.0

    def cut(self, tiles_of: Callable[[RgbImage], RgbTiles]) -> RgbTiles:
        """Return the query's tiles; cutting them is timed."""
        if self.query.tiles is not None:
            return self.query.tiles
        start = time.perf_counter()
        tiles = tiles_of(self.query.pixels)
        self.preprocess_ms = (time.perf_counter() - start) * 1e3
        return tiles

    def redraw_query(self, candidates: Sequence[str]) -> RedrawQuery:
        """Return what is to be redrawn by some candidates."""
        return RedrawQuery(
            self.query.pixels,
            fingerprint=self.fingerprint,
            provided={name: self.provided[name] for name in self.provided if name in candidates},
            candidates=tuple(candidates),
        )
