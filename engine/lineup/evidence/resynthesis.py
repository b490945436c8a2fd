"""The evidence of redrawing: what do the candidates make of the query's caption?

Each candidate draws gamma pictures of the caption. Two signals come of them:

    resynthesis              closeness of the query's image features to theirs (papers A and B;
                             middle layer and nearest picture as in RefPrint, arXiv 2607.12052)
    resynthesis-fingerprint  mean cosine of the query's fingerprint with theirs, which are a
                             support set made on the spot (paper C's score)

Caption, text states, pictures and features are computed once and shared by all that need them.
Scores leave here raw; a calibration turns them into log likelihood ratios.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lineup import trace as cost
from lineup.errors import UsageError
from lineup.evidence.cache import ResultCache
from lineup.evidence.distances import Aggregate, Float64Array, aggregated
from lineup.evidence.provided import NONE_PROVIDED, ProvidedImage
from lineup.evidence.resynthesis_batch import Redraw, RedrawQuery, RedrawStages
from lineup.evidence.resynthesis_models import (
    FeatureEncoder,
    FingerprintModel,
    QueryCaptioner,
    Redrawer,
)
from lineup.evidence.resynthesis_options import Mode, ResynthesisOptions
from lineup.evidence.resynthesis_pictures import Picture
from lineup.evidence.resynthesis_sources import KeptModels, ModelSource
from lineup.results import (
    RESYNTHESIS,
    RESYNTHESIS_EVIDENCE,
    RESYNTHESIS_FINGERPRINT,
    Evidence,
    Resynthesis,
)
from lineup.trace import CostMeter
from lineup.types import Float32Array, RgbImage


class Resynthesizer:
    """Redraws queries with the candidates of a lineup and compares; owns none of the models.

    Args:
        generators: Per candidate that can redraw; or a source of all models but the fingerprinter.
        captioner: Describes queries; None when prompts are always given.
        encoder: Gives image features; None leaves `RESYNTHESIS` out.
        fingerprinter: Gives fingerprints; None leaves `RESYNTHESIS_FINGERPRINT` out.
        cache: Keeps pictures and features; None keeps nothing.

    Attributes:
        names: The candidates that can redraw.
    """

    def __init__(
        self,
        generators: Mapping[str, Redrawer[Any]] | ModelSource,
        *,
        captioner: QueryCaptioner | None = None,
        encoder: FeatureEncoder | None = None,
        fingerprinter: FingerprintModel | None = None,
        cache: ResultCache | None = None,
    ) -> None:
        if isinstance(generators, Mapping):
            generators = KeptModels(generators, captioner, encoder)
        self._models: ModelSource = generators
        self._fingerprinter = fingerprinter
        self._cache = cache
        self.names = generators.names

    @property
    def signals(self) -> tuple[str, ...]:
        """The signals that the models at hand can give."""
        models = {
            RESYNTHESIS: self._models.encoder_traits,
            RESYNTHESIS_FINGERPRINT: self._fingerprinter,
        }
        return tuple(name for name, model in models.items() if model is not None)

    def resynthesis(
        self,
        query: RgbImage,
        options: ResynthesisOptions,
        *,
        signals: Sequence[str] = RESYNTHESIS_EVIDENCE,
        query_fingerprint: Float32Array | None = None,
        provided: Mapping[str, Sequence[ProvidedImage]] = NONE_PROVIDED,
    ) -> Resynthesis:
        """Redraw a query and compare.

        Args:
            query: Shape (H, W, 3), uint8 RGB.
            options: How; the papers' modes have no fingerprint signal.
            signals: Which of `RESYNTHESIS_EVIDENCE` are wanted; one without its model is left out.
            query_fingerprint: Shape (D,), float32, when it is known already.
            provided: Resyntheses made elsewhere, per candidate; they join those made here.

        Raises:
            UsageError: There is neither a prompt nor a captioner, or nothing to compare with.
            BackendError: A model failed.
        """
        asked = RedrawQuery(query, fingerprint=query_fingerprint, provided=provided)
        return self.resyntheses([asked], options, signals=signals)[0]

    def resyntheses(
        self,
        queries: Sequence[RedrawQuery],
        options: ResynthesisOptions,
        *,
        signals: Sequence[str] = RESYNTHESIS_EVIDENCE,
    ) -> list[Resynthesis]:
        """Redraw queries and compare, taking every model once for all of them.

        The result for a query does not depend on the others.

        Args:
            queries: Their pixels, and all their resyntheses, are in memory at once.
            options: How; the papers' modes have no fingerprint signal.
            signals: Which of `RESYNTHESIS_EVIDENCE` are wanted; one without its model is left out.

        Raises:
            UsageError: There is neither a prompt nor a captioner, or nothing to compare with.
            BackendError: A model failed.
        """
        wanted = self._wanted(signals, options)
        redraws = [Redraw(query, self.names) for query in queries]
        if not wanted or not all(one.names or one.query.provided for one in redraws):
            raise UsageError(
                f"Nothing here gives the evidence {', '.join(signals)}.",
                hint="It takes a lineup with generators: `lineup lineups list` shows them.",
            )
        stages = RedrawStages(self._models, self._cache, options)
        stages.caption(redraws)
        stages.draw(redraws)
        closeness: dict[str, list[Float64Array]] = {}
        if RESYNTHESIS in wanted:
            closeness[RESYNTHESIS] = stages.closeness(redraws)
        if RESYNTHESIS_FINGERPRINT in wanted:
            assert self._fingerprinter is not None
            closeness[RESYNTHESIS_FINGERPRINT] = stages.cosines(redraws, self._fingerprinter)
        return [
            _resynthesis(one, {name: values[row] for name, values in closeness.items()}, options)
            for row, one in enumerate(redraws)
        ]

    def evidence_options(self, options: ResynthesisOptions) -> dict[str, dict[str, str | int]]:
        """Return, per signal, what its scores depend on: a calibration holds for these only."""
        gamma: dict[str, str | int] = {"gamma": options.gamma}
        settings = gamma | {
            "mode": options.mode.value,
            "distance": options.distance.value,
            "aggregate": options.aggregate.value,
        }
        if options.aggregate is Aggregate.KNN:
            settings["neighbours"] = options.neighbours
        encoder = self._models.encoder_traits
        if options.distance.needs_features and encoder is not None:
            layer = options.encoder_layer
            settings["encoder_layer"] = encoder.default_layer if layer is None else layer
        return {RESYNTHESIS: settings, RESYNTHESIS_FINGERPRINT: gamma}

    def _wanted(self, signals: Sequence[str], options: ResynthesisOptions) -> list[str]:
        """Return the signals to give, the one that decides which picture is best first."""
        known = self.signals if options.mode is Mode.DEFAULT else (RESYNTHESIS,)
        return [name for name in self.signals if name in signals and name in known]


def _resynthesis(
    redraw: Redraw, closeness: Mapping[str, Float64Array], options: ResynthesisOptions
) -> Resynthesis:
    """Sum up a query; the first signal decides which picture is best."""
    pictures = redraw.pictures
    groups = {name: _by_candidate(pictures, values) for name, values in closeness.items()}
    first = groups[next(iter(groups))]
    return Resynthesis(
        caption=redraw.caption,
        pictures={name: _pictures_of(pictures, name) for name in first},
        best={name: int(np.argmax(values)) for name, values in first.items()},
        evidence=tuple(_evidence(name, groups, options, redraw.meter) for name in groups),
        cost=redraw.meter.cost(),
    )


def _by_candidate(pictures: Sequence[Picture], values: Float64Array) -> dict[str, Float64Array]:
    """Group values, one per picture, by candidate, in the order of their first pictures."""
    rows: dict[str, list[int]] = {}
    for row, picture in enumerate(pictures):
        rows.setdefault(picture.candidate, []).append(row)
    return {name: values[which] for name, which in rows.items()}


def _pictures_of(pictures: Sequence[Picture], candidate: str) -> tuple[RgbImage, ...]:
    return tuple(one.pixels for one in pictures if one.candidate == candidate)


def _evidence(
    name: str,
    groups: Mapping[str, Mapping[str, Float64Array]],
    options: ResynthesisOptions,
    meter: CostMeter,
) -> Evidence:
    """Return a signal's raw evidence; what the signals share is counted to the first."""
    stages = [cost.FINGERPRINT] if name == RESYNTHESIS_FINGERPRINT else [cost.ENCODE, cost.PIXELS]
    if name == next(iter(groups)):
        stages += [cost.CAPTION, cost.TEXT, cost.GENERATE]
    rule = Aggregate.MEAN if name == RESYNTHESIS_FINGERPRINT else options.aggregate
    return Evidence(
        name=name,
        scores={
            key: aggregated(values, rule, options.neighbours)
            for key, values in groups[name].items()
        },
        llr={},
        cost_ms=1e3 * meter.seconds(*stages),
        samples={key: tuple(values.tolist()) for key, values in groups[name].items()},
    )
