"""Resyntheses of queries, stage by stage: captions, each candidate's resyntheses, closeness.

Each candidate makes gamma resyntheses of the caption. Two signals come of them:

    resynthesis              closeness of the query's image features to theirs (arXiv 2510.24278 and
                             2403.01489; middle layer and nearest one as in RefPrint, 2607.12052)
    resynthesis-fingerprint  mean cosine of the query's fingerprint with theirs, which are a
                             support made on the spot

Every model is taken from its source once, for all queries of a chunk. The models are called for one
query after the other, with the same inputs whatever the other queries are, so that a chunk gets the
results, to the last bit, that each query would get alone. Scores leave here raw; a calibration
turns them into log likelihood ratios.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lineup.errors import UsageError
from lineup.options import Aggregate, Mode, ResynthesisOptions
from lineup.query import Query
from lineup.results import (
    GENERATED,
    PHOTOGRAPH,
    RESYNTHESIS,
    RESYNTHESIS_EVIDENCE,
    RESYNTHESIS_FINGERPRINT,
    Evidence,
    Resyntheses,
    Verdict,
)
from lineup.resynthesis.cache import ResultCache
from lineup.resynthesis.closeness import (
    aggregated,
    feature_closeness,
    pixel_closeness,
    softmax,
)
from lineup.resynthesis.making import ModelSource, ResynthesisMaker
from lineup.stored.captions import CaptionRow
from lineup.stored.store import StoredSet, chosen_set
from lineup.trace import ASK, CAPTION, ENCODE, FINGERPRINT, GENERATE, PIXELS, TEXT, Trace

if TYPE_CHECKING:
    from lineup.fingerprint import FingerprintExtractor
    from lineup.stored.asking import AskedCandidate
    from lineup.types import Float32Array, Float64Array, RgbImage

IMAGES_PER_CALL = 32
"""Bounds the memory of a call when a lineup has many candidates."""


class Resynthesizer:
    """Lets the candidates of a lineup resynthesise queries and compares; owns none of the models.

    Args:
        models: Hands out captioner, encoder and generators; without an encoder there is no
            `RESYNTHESIS`.
        fingerprinter: Gives fingerprints; None leaves `RESYNTHESIS_FINGERPRINT` out.
        cache: Keeps resyntheses and features; None keeps nothing.
        asked: Candidates that a command asks for resyntheses.

    Attributes:
        names: The candidates that can resynthesise here.
    """

    def __init__(
        self,
        models: ModelSource,
        *,
        fingerprinter: FingerprintExtractor | None = None,
        cache: ResultCache | None = None,
        asked: Sequence[AskedCandidate] = (),
    ) -> None:
        self._models = models
        self._asked = asked
        self._fingerprinter = fingerprinter
        self._cache = cache
        self.names = tuple(models.generators)

    @property
    def able(self) -> tuple[str, ...]:
        """The candidates that can resynthesise any query, here or by a command."""
        return (*self.names, *(one.name for one in self._asked))

    @property
    def signals(self) -> tuple[str, ...]:
        """The signals that the models at hand can give."""
        models = {
            RESYNTHESIS: self._models.encoder_traits,
            RESYNTHESIS_FINGERPRINT: self._fingerprinter,
        }
        return tuple(name for name, model in models.items() if model is not None)

    def resyntheses(
        self,
        queries: Sequence[Query],
        options: ResynthesisOptions,
        *,
        signals: Sequence[str] = RESYNTHESIS_EVIDENCE,
    ) -> list[Resyntheses]:
        """Resynthesise queries and compare, taking every model once for all of them.

        The result for a query does not depend on the others.

        Args:
            queries: Their pixels, and all their resyntheses, are in memory at once; they come to
                hold caption, resyntheses and trace.
            options: How; the papers' modes have no fingerprint signal.
            signals: Which of `RESYNTHESIS_EVIDENCE` are wanted; one without its model is left out.

        Raises:
            UsageError: There is neither a prompt nor a captioner, or nothing to compare with.
            BackendError: A model failed.
        """
        wanted = self._wanted(signals, options)
        if not wanted or not all(
            any(query.asks(name) for name in (*self.able, *query.stored)) for query in queries
        ):
            raise UsageError(
                f"Nothing here gives the evidence {', '.join(signals)}.",
                hint="It takes a lineup with generators: `lineup lineups list` shows them.",
            )
        for query in queries:
            query.caption, query.made, query.trace, query.elsewhere = None, [], Trace(), {}
        self._caption(queries, options.prompt)
        self._make(queries, options)
        closeness: dict[str, list[Float64Array]] = {}
        if RESYNTHESIS in wanted:
            closeness[RESYNTHESIS] = self._closeness(queries, options)
        if RESYNTHESIS_FINGERPRINT in wanted:
            closeness[RESYNTHESIS_FINGERPRINT] = self._cosines(queries)
        return [
            _compared(query, {name: values[row] for name, values in closeness.items()}, options)
            for row, query in enumerate(queries)
        ]

    def evidence_options(self, options: ResynthesisOptions) -> dict[str, dict[str, str | int]]:
        """Return, per signal, what its scores depend on: a calibration holds for these only."""
        gamma: dict[str, str | int] = {"gamma": options.gamma}
        settings = gamma | {
            "mode": options.mode.value,
            "distance": options.distance.value,
            "aggregate": options.aggregate.value,
        }
        encoder = self._models.encoder_traits
        if options.distance.needs_features and encoder is not None:
            layer = options.encoder_layer
            settings["encoder_layer"] = encoder.default_layer if layer is None else layer
        return {RESYNTHESIS: settings, RESYNTHESIS_FINGERPRINT: gamma}

    def _wanted(self, signals: Sequence[str], options: ResynthesisOptions) -> list[str]:
        """Return the signals to give, the one that decides which resynthesis is best first."""
        known = self.signals if options.mode is Mode.DEFAULT else (RESYNTHESIS,)
        return [name for name in self.signals if name in signals and name in known]

    def _caption(self, queries: Sequence[Query], prompt: str | None) -> None:
        """Describe every query that a candidate resynthesises."""
        asking = [query for query in queries if any(map(query.asks, self.able))]
        if prompt is not None or not asking:
            for query in asking:
                query.caption = prompt
            return
        if self._models.captioner is None:
            raise UsageError(
                "The lineup has no captioner, so the query's prompt has to be given.",
                hint="Pass it with --prompt TEXT.",
            )
        with self._models.captioner() as captioner:
            for query in asking:
                assert query.pixels is not None
                with query.trace.running(), query.trace.call(CAPTION):
                    query.caption = captioner.captions([query.pixels])[0].text

    def _make(self, queries: Sequence[Query], options: ResynthesisOptions) -> None:
        """Let one candidate after the other resynthesise all captions; then add the others'."""
        maker = ResynthesisMaker(options.seeds, self._cache)
        for name, taken in self._models.generators.items():
            asking = [query for query in queries if query.asks(name)]
            if asking:
                with taken() as generator:
                    maker.make(name, generator, asking)
        for query in queries:
            for one in self._made_elsewhere(query, options):
                query.made += one.resyntheses(options.gamma)
                query.elsewhere[one.candidate] = one.caption
            captions = set(query.elsewhere.values())
            if query.caption is None and len(captions) == 1:
                query.caption = next(iter(captions)) or None

    def _made_elsewhere(self, query: Query, options: ResynthesisOptions) -> Iterator[StoredSet]:
        """Yield what others made: as many pictures as of a candidate here, of the same caption."""
        for candidate in self._asked:
            if query.asks(candidate.name):
                with query.trace.running(), query.trace.call(ASK, options.gamma):
                    made = candidate.pictures(_row_from_query(query, options.seeds))
                yield made
        asked = {candidate.name for candidate in self._asked}
        for name, sets in query.stored.items():
            if query.asks(name) and name not in asked:
                yield chosen_set(sets, query.caption or options.prompt)

    def _closeness(
        self, queries: Sequence[Query], options: ResynthesisOptions
    ) -> list[Float64Array]:
        """Return how close each resynthesis is by the distance asked for, shape (N,) per query."""
        parts: list[list[Float64Array]] = [[] for _ in queries]
        if options.distance.needs_features:
            assert self._models.encoder is not None
            with self._models.encoder() as encoder:
                layer = options.encoder_layer
                layer = encoder.default_layer if layer is None else layer
                parts_of_encoder = {"encoder": encoder.digest, "layer": layer}
                features = partial(encoder.features, layer=layer)
                for query, values in zip(queries, parts, strict=True):
                    with query.trace.running():
                        rows = self._rows(query, ENCODE, parts_of_encoder, features)
                        values.append(feature_closeness(rows[0], rows[1:], options.distance))
        if options.distance.needs_pixels:
            for query, values in zip(queries, parts, strict=True):
                assert query.pixels is not None
                images = [one.pixels for one in query.made]
                with query.trace.running(), query.trace.call(PIXELS, len(images)):
                    values.append(pixel_closeness(query.pixels, images))
        return [np.asarray(np.mean(values, axis=0), np.float64) for values in parts]

    def _cosines(self, queries: Sequence[Query]) -> list[Float64Array]:
        """Return the cosine of each resynthesis's fingerprint with the query's, (N,) per query."""
        assert self._fingerprinter is not None
        extractor = self._fingerprinter
        parts = {"fingerprint": extractor.digest}
        cosines = []
        for query in queries:
            with query.trace.running():
                rows = self._rows(
                    query, FINGERPRINT, parts, extractor.fingerprints, known=query.fingerprint
                )
                cosines.append(np.asarray(rows[1:].astype(np.float64) @ rows[0], np.float64))
        return cosines

    def _rows(
        self,
        query: Query,
        stage: str,
        model: Mapping[str, Any],
        compute: Callable[[Sequence[RgbImage]], Float32Array],
        *,
        known: Float32Array | None = None,
    ) -> Float32Array:
        """Return a query's vector and below it one per resynthesis, shape (1 + N, D).

        The query rides in the first call with its resyntheses, so it costs no call of its own; its
        vector is never cached.

        Args:
            query: With its resyntheses; its trace counts the calls.
            stage: Whose cost it is.
            model: Identity of what is computed, as JSON values.
            compute: Returns one L2-normalised float32 row per image.
            known: The query's vector, shape (D,), when it is known already.
        """
        assert query.pixels is not None
        cache = self._cache
        parts = [{"of": dict(made.parts), **model} for made in query.made]
        rows: list[Float32Array | None] = [known]
        rows += [None if cache is None else cache.features(one) for one in parts]
        query.trace.add_cached(stage, sum(row is not None for row in rows[1:]))
        images = [query.pixels, *(one.pixels for one in query.made)]
        missing = [index for index, row in enumerate(rows) if row is None]
        for start in range(0, len(missing), IMAGES_PER_CALL):
            chunk = missing[start : start + IMAGES_PER_CALL]
            with query.trace.call(stage, len(chunk)):
                computed = compute([images[index] for index in chunk])
            for index, row in zip(chunk, computed, strict=True):
                rows[index] = row
                if index > 0 and cache is not None:
                    cache.write_features(parts[index - 1], row)
        return np.stack([row for row in rows if row is not None])


def _row_from_query(query: Query, seeds: Sequence[int]) -> CaptionRow:
    """Return what a command is asked for: pictures called after their seeds."""
    assert query.pixels is not None
    assert query.sha256 is not None
    return CaptionRow(
        sha256=query.sha256,
        caption=query.caption or "",
        seeds=tuple(seeds),
        pictures=tuple(map(str, seeds)),
        width_px=query.pixels.shape[1],
        height_px=query.pixels.shape[0],
    )


def published_verdict(names: Sequence[str], resyntheses: Resyntheses, mode: Mode) -> Verdict:
    """Return the closed-set answer of the papers: the closest candidate, softmax of scores.

    Nothing is said on `GENERATED` and `PHOTOGRAPH`, which the papers do not have.
    """
    (evidence,) = resyntheses.evidence
    shares = dict(zip(evidence.scores, softmax(list(evidence.scores.values())), strict=True))
    posterior = dict.fromkeys([*names, GENERATED, PHOTOGRAPH], 0.0) | shares
    return Verdict(
        label=max(evidence.scores, key=evidence.scores.__getitem__),
        posterior=posterior,
        evidence=(evidence,),
        caption=resyntheses.caption,
        notes=(f"{mode.value}: one of the candidates by assumption; shares are not calibrated",),
    )


def _compared(
    query: Query, closeness: Mapping[str, Float64Array], options: ResynthesisOptions
) -> Resyntheses:
    """Sum up a query; the first signal decides which resynthesis is best."""
    rows: dict[str, list[int]] = {}
    for row, made in enumerate(query.made):
        rows.setdefault(made.candidate, []).append(row)
    groups = {
        signal: {name: values[which] for name, which in rows.items()}
        for signal, values in closeness.items()
    }
    first = groups[next(iter(groups))]
    return Resyntheses(
        caption=query.caption,
        images={name: tuple(query.made[row].pixels for row in rows[name]) for name in rows},
        best={name: int(np.argmax(values)) for name, values in first.items()},
        evidence=tuple(_evidence(name, groups, options, query.trace) for name in groups),
        trace=query.trace,
        stored=dict(query.elsewhere),
    )


def _evidence(
    name: str,
    groups: Mapping[str, Mapping[str, Float64Array]],
    options: ResynthesisOptions,
    trace: Trace,
) -> Evidence:
    """Return a signal's raw evidence; what the signals share is counted to the first."""
    stages = [FINGERPRINT] if name == RESYNTHESIS_FINGERPRINT else [ENCODE, PIXELS]
    if name == next(iter(groups)):
        stages += [CAPTION, TEXT, GENERATE, ASK]
    rule = Aggregate.MEAN if name == RESYNTHESIS_FINGERPRINT else options.aggregate
    return Evidence(
        name=name,
        scores={key: aggregated(values, rule) for key, values in groups[name].items()},
        llr={},
        cost_ms=1e3 * sum(trace.stage(stage).seconds for stage in stages),
        samples={key: tuple(values.tolist()) for key, values in groups[name].items()},
    )
