"""One image on its way to an answer: the carrier from the reader to the verdict."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lineup.results import Attribution, Evidence, StageTimes, Verdict
from lineup.trace import Trace

if TYPE_CHECKING:
    from lineup.fingerprint import FingerprintExtractor
    from lineup.reading import ReadImage
    from lineup.results import Resyntheses, Resynthesis
    from lineup.stored.store import StoredSet
    from lineup.stream import StreamedImage
    from lineup.types import Float32Array, RgbImage, RgbTiles


@dataclass(slots=True, eq=False)
class Query:
    """An image to attribute, and what is known about it so far.

    Attributes:
        pixels: Shape (height, width, 3), uint8 RGB, as decoded: never resized. None where tiles are
            all that is needed.
        sha256: Hash of the image's file; stored resyntheses are filed under it.
        tiles: What the fingerprint's extractor cuts it into; None until it is cut.
        tile_notes: Remarks on how far its fingerprint can be trusted.
        stored: Resyntheses made elsewhere, per candidate the sets there are, the last added first.
        wanted: The evidence to compute.
        candidates: Who resynthesises it, and whose stored resyntheses count; None is everybody.
        fingerprint: Shape (D,), float32, length 1; None until it is computed. One that is known
            is not computed again.
        strength: What came with the fingerprint (`lineup.fingerprint.Signals`).
        embedding: Shape (E,), float32, length 1; None until it is computed.
        real_llr: What came with the fingerprint: the natural-log likelihood ratio of a photograph
            against a generated image; None where the bundle does not tell.
        evidence: What there is, cheapest first.
        caption: What candidates resynthesise; None until it is known, or when nothing is.
        made: Its resyntheses so far, those made elsewhere last.
        elsewhere: Caption of those made elsewhere, per candidate.
        trace: What resynthesising it cost.
        resyntheses: What the candidates made of its caption, compared; None when none did.
        notes: Evidence that was left out, and why.
        ms: Time per stage, the reader's included.
        verdict: The answer; None until it is there.
    """

    pixels: RgbImage | None
    sha256: str | None = None
    tiles: RgbTiles | None = None
    tile_notes: tuple[str, ...] = ()
    stored: Mapping[str, Sequence[StoredSet]] = field(default_factory=dict)
    wanted: tuple[str, ...] = ()
    candidates: tuple[str, ...] | None = None
    fingerprint: Float32Array | None = None
    strength: float | None = None
    embedding: Float32Array | None = None
    real_llr: float | None = None
    evidence: list[Evidence] = field(default_factory=list)
    caption: str | None = None
    made: list[Resynthesis] = field(default_factory=list)
    elsewhere: dict[str, str] = field(default_factory=dict)
    trace: Trace = field(default_factory=Trace)
    resyntheses: Resyntheses | None = None
    notes: list[str] = field(default_factory=list)
    ms: StageTimes = StageTimes()  # noqa: RUF009 - frozen, so sharing one is safe
    verdict: Verdict | None = None

    @classmethod
    def from_image(cls, image: ReadImage) -> Query:
        """Return the query that a decoded image is."""
        return cls(image.pixels, sha256=image.sha256, ms=image.ms)

    @classmethod
    def from_stream(cls, image: StreamedImage) -> Query:
        """Return the query that a file of a stream is."""
        return cls(
            image.pixels,
            sha256=image.sha256,
            ms=image.ms,
            tiles=image.tiles,
            tile_notes=image.tile_notes,
        )

    def cut(self, extractor: FingerprintExtractor) -> RgbTiles:
        """Return its tiles; cutting them is timed."""
        if self.tiles is None:
            assert self.pixels is not None
            start = time.perf_counter()
            self.tiles = extractor.tiles(self.pixels)
            self.tile_notes = extractor.notes(self.pixels)
            self.ms = self.ms.plus(preprocess=(time.perf_counter() - start) * 1e3)
        return self.tiles

    @property
    def work_ms(self) -> float:
        """Time spent on it so far, reading and fusion left out."""
        return (self.ms.preprocess or 0.0) + (self.ms.inference or 0.0)

    def asks(self, candidate: str) -> bool:
        """Tell whether a candidate's resyntheses are wanted."""
        return self.candidates is None or candidate in self.candidates

    def attribution(self, image: ReadImage | StreamedImage, run: str) -> Attribution:
        """Return the answer about the image that this query is: with verdict and times."""
        row = row_from_image(image, run)
        return replace(row, verdict=self.verdict, ms=self.ms, resyntheses=self.resyntheses)


def row_from_image(image: ReadImage | StreamedImage, run: str) -> Attribution:
    """Return what the readers know of an image: all of its row but the answer.

    Args:
        image: A decoded image, or one of a stream, which may have an error.
        run: Identity of the question.
    """
    return Attribution(
        path=None if image.path is None else str(image.path),
        run=run,
        sha256=image.sha256,
        size_bytes=image.size_bytes,
        format=image.format,
        width_px=image.width_px,
        height_px=image.height_px,
        ms=image.ms,
        notes=image.notes,
        origin=image.origin,
        error=image.error,
    )
