"""The gallery's evidence: how well a query fits the known sources, by fingerprint and by CLIP."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lineup.closing import ClosesOnExit
from lineup.errors import BackendError
from lineup.fingerprint import FingerprintExtractor, is_unjudged
from lineup.gallery.channel_comparing import Images
from lineup.gallery.gallery import Gallery
from lineup.gallery.kept_fits import KeptFits
from lineup.gallery.scoring import Judgement, SourceScorer
from lineup.query import Query
from lineup.results import (
    FINGERPRINT,
    PHOTOGRAPH,
    REFERENCE,
    RESYNTHESIS_FINGERPRINT,
    Evidence,
)
from lineup.types import Float32Array, Float64Array

if TYPE_CHECKING:
    from lineup.reference import PhotographHead, ReferenceEncoder


class GalleryEvidence(ClosesOnExit):
    """Compares queries with a gallery; what it needs is read and opened when it is first needed.

    Args:
        extractor: Computes fingerprints; closed with this.
        read_gallery: Returns the known sources.
        open_encoder: Opens what embeds images; None where nothing does.
        kept: Where fits of galleries are kept; None keeps none.

    Attributes:
        extractor: As given.
    """

    def __init__(
        self,
        extractor: FingerprintExtractor,
        read_gallery: Callable[[], Gallery],
        open_encoder: Callable[[], ReferenceEncoder] | None = None,
        kept: KeptFits | None = None,
    ) -> None:
        self.extractor = extractor
        self._read_gallery = read_gallery
        self._open_encoder = open_encoder
        self._kept = kept

    @cached_property
    def gallery(self) -> Gallery:
        """The known sources.

        Raises:
            GalleryError: They cannot be read, or were made with another fingerprint.
        """
        return self._read_gallery()

    @cached_property
    def scorer(self) -> SourceScorer:
        """Compares fingerprints with the candidates of the gallery."""
        return SourceScorer(self.gallery, parts=self.extractor.parts, kept=self._kept)

    @cached_property
    def encoder(self) -> ReferenceEncoder:
        """What embeds images, opened on first use."""
        assert self._open_encoder is not None
        return self._open_encoder()

    @cached_property
    def head(self) -> PhotographHead | None:
        """What tells photographs by this fingerprint and this encoder, if anything does."""
        return self.encoder.head(self.extractor.digest)

    @cached_property
    def reference_scorer(self) -> SourceScorer:
        """Compares fingerprints and embeddings with the candidates that have both."""
        parts, kept = self.extractor.parts, self._kept
        return SourceScorer(self.gallery, self.encoder.key, parts=parts, kept=kept)

    @property
    def has_reference(self) -> bool:
        """Whether there is an encoder, and a candidate with its embeddings."""
        return self._open_encoder is not None and any(
            one.has_embeddings(self.encoder.key) for one in self.gallery.candidates
        )

    def forget_gallery(self) -> None:
        """Read the gallery again when it is next needed: it has changed."""
        for name in ("gallery", "scorer", "reference_scorer"):
            self.__dict__.pop(name, None)

    def take(self, queries: Sequence[Query]) -> None:
        """Compute the fingerprints that are wanted, and the evidence that they are."""
        wanting = [
            query for query in queries if {FINGERPRINT, RESYNTHESIS_FINGERPRINT} & set(query.wanted)
        ]
        self._compute_fingerprints([query for query in wanting if query.fingerprint is None])
        embedding_ms = self._compute_embeddings(
            [query for query in wanting if {FINGERPRINT, REFERENCE} <= set(query.wanted)]
        )
        for query in wanting:
            if FINGERPRINT not in query.wanted:
                continue
            found = self.scorer.judgement(self._images(query))
            query.evidence.append(
                self._evidence(FINGERPRINT, query, self.scorer, found, found.llrs, query.work_ms)
            )
            if REFERENCE in query.wanted:
                query.evidence.append(self._reference_evidence(query, found, embedding_ms))
            if query.real_llr is not None and not is_unjudged(query.tile_notes):
                # From the same runs of the models as the others, whose costs include it.
                llr = {PHOTOGRAPH: query.real_llr}
                head = self.head if REFERENCE in query.wanted else None
                words = None if head is None else head.in_words(query.real_llr)
                query.evidence.append(Evidence(PHOTOGRAPH, {}, llr, cost_ms=0.0, in_words=words))

    def close(self) -> None:
        """Release the models."""
        with closing(self.extractor):
            if "encoder" in self.__dict__:
                self.encoder.close()

    def _compute_fingerprints(self, queries: Sequence[Query]) -> None:
        if not queries:
            return
        tiles = [query.cut(self.extractor) for query in queries]
        start = time.perf_counter()
        signals = self.extractor.signals_from_tiles(tiles)
        tile_ms = (time.perf_counter() - start) * 1e3 / sum(map(len, tiles))
        shape = signals.fingerprints.shape
        if shape[0] != len(queries) or not np.isfinite(signals.fingerprints).all():
            raise BackendError(
                f"The model returned an array of shape {shape} for {len(queries)} images, expected "
                "one row of finite numbers per image."
            )
        for row, query in enumerate(queries):
            query.fingerprint = signals.fingerprints[row]
            query.strength = float(signals.strengths[row])
            if signals.real_llrs is not None:
                query.real_llr = float(signals.real_llrs[row])
            query.ms = query.ms.plus(inference=tile_ms * len(tiles[row]))

    def _compute_embeddings(self, queries: Sequence[Query]) -> float:
        """Embed those that are not; return the time that this took an image, in ms."""
        wanting = [query for query in queries if query.embedding is None]
        if not wanting:
            return 0.0
        start = time.perf_counter()
        pixels = [query.pixels for query in wanting if query.pixels is not None]
        assert len(pixels) == len(wanting)
        looked = self.encoder.look(pixels, self.head)
        image_ms = (time.perf_counter() - start) * 1e3 / len(wanting)
        for row, query in enumerate(wanting):
            query.embedding = looked.embeddings[row]
            query.ms = query.ms.plus(inference=image_ms)
        if self.head is not None:
            fingerprints = [query.fingerprint for query in wanting if query.fingerprint is not None]
            llrs = self.head.llrs(looked.tokens, np.stack(fingerprints))
            for query, llr in zip(wanting, llrs.tolist(), strict=True):
                query.real_llr = llr
        return image_ms

    def _reference_evidence(self, query: Query, alone: Judgement, embedding_ms: float) -> Evidence:
        """Compare fingerprint and embedding at once; the evidence is what the embedding adds."""
        start = time.perf_counter()
        scorer = self.reference_scorer
        found = scorer.judgement(self._images(query, query.embedding))
        without = dict(zip(self.scorer.names, alone.llrs.tolist(), strict=True))
        added = found.llrs - np.array([without[name] for name in scorer.names])
        spent_ms = (time.perf_counter() - start) * 1e3
        query.ms = query.ms.plus(inference=spent_ms)
        return self._evidence(REFERENCE, query, scorer, found, added, embedding_ms + spent_ms)

    def _images(self, query: Query, embedding: Float32Array | None = None) -> Images:
        assert query.fingerprint is not None
        assert query.strength is not None
        return Images(
            query.fingerprint[None],
            np.array([query.strength], np.float32),
            None if embedding is None else embedding[None],
        )

    def _evidence(
        self,
        name: str,
        query: Query,
        scorer: SourceScorer,
        found: Judgement,
        llrs: Float64Array,
        cost_ms: float,
    ) -> Evidence:
        unjudged = is_unjudged(query.tile_notes)
        channel: str | None = None
        nearest: tuple[str, ...] = ()
        if scorer.names and not unjudged:
            best = int(found.llrs.argmax())
            channel = found.channels[best]
            images = self._images(query, query.embedding if name == REFERENCE else None)
            nearest = scorer.nearest(images, self.gallery.source(scorer.names[best]), channel)
        return Evidence(
            name=name,
            scores=dict(zip(scorer.names, found.scores.tolist(), strict=True)),
            llr=dict(zip(scorer.names, (0.0 * llrs if unjudged else llrs).tolist(), strict=True)),
            cost_ms=cost_ms,
            notes=query.tile_notes if name == FINGERPRINT else (),
            channel=channel,
            nearest=nearest,
        )
