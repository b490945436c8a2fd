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
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from lineup.errors import UsageError
from lineup.evidence import resynthesis_cost as cost
from lineup.evidence.cache import ResultCache
from lineup.evidence.distances import (
    Aggregate,
    Float64Array,
    aggregated,
    feature_closeness,
    pixel_closeness,
)
from lineup.evidence.provided import ProvidedImage
from lineup.evidence.resynthesis_cost import CostMeter, ResynthesisCost
from lineup.evidence.resynthesis_models import (
    FeatureEncoder,
    FingerprintModel,
    QueryCaptioner,
    Redrawer,
)
from lineup.evidence.resynthesis_options import EncoderLayer, Mode, ResynthesisOptions
from lineup.evidence.resynthesis_pictures import Picture, PictureMaker
from lineup.evidence.resynthesis_vectors import VectorModel, VectorTable
from lineup.results import Evidence
from lineup.types import Float32Array, RgbImage

RESYNTHESIS = "resynthesis"
RESYNTHESIS_FINGERPRINT = "resynthesis-fingerprint"
SIGNALS = (RESYNTHESIS, RESYNTHESIS_FINGERPRINT)

NONE_PROVIDED: Mapping[str, Sequence[ProvidedImage]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Resynthesis:
    """What the candidates made of a query's caption, and how close it comes.

    Attributes:
        caption: What was drawn; None when every picture was provided.
        pictures: The resyntheses per candidate, in the order of their seeds, provided ones last;
            shape (H, W, 3), uint8 RGB.
        best: Index of the closest one per candidate.
        evidence: One per signal, not calibrated: `llr` is empty.
        cost: Calls and seconds.
    """

    caption: str | None
    pictures: Mapping[str, tuple[RgbImage, ...]]
    best: Mapping[str, int]
    evidence: tuple[Evidence, ...]
    cost: ResynthesisCost

    def best_picture(self, candidate: str) -> RgbImage:
        """Return the closest resynthesis of a candidate."""
        return self.pictures[candidate][self.best[candidate]]


class Resynthesizer:
    """Redraws queries with the candidates of a lineup and compares; owns none of the models.

    Args:
        generators: Per candidate that can redraw.
        captioner: Describes queries; None when prompts are always given.
        encoder: Gives image features; None leaves `RESYNTHESIS` out.
        fingerprinter: Gives fingerprints; None leaves `RESYNTHESIS_FINGERPRINT` out.
        cache: Keeps pictures and features; None keeps nothing.
    """

    def __init__(
        self,
        generators: Mapping[str, Redrawer[Any]],
        *,
        captioner: QueryCaptioner | None = None,
        encoder: FeatureEncoder | None = None,
        fingerprinter: FingerprintModel | None = None,
        cache: ResultCache | None = None,
    ) -> None:
        self.names = tuple(generators)
        self._captioner = captioner
        self._encoder = encoder
        self._fingerprinter = fingerprinter
        self._cache = cache
        self._maker = PictureMaker(generators, cache)

    @property
    def signals(self) -> tuple[str, ...]:
        """The signals that the models at hand can give."""
        models = {RESYNTHESIS: self._encoder, RESYNTHESIS_FINGERPRINT: self._fingerprinter}
        return tuple(name for name, model in models.items() if model is not None)

    def resynthesis(
        self,
        query: RgbImage,
        options: ResynthesisOptions,
        *,
        signals: Sequence[str] = SIGNALS,
        query_fingerprint: Float32Array | None = None,
        provided: Mapping[str, Sequence[ProvidedImage]] = NONE_PROVIDED,
    ) -> Resynthesis:
        """Redraw a query and compare.

        Args:
            query: Shape (H, W, 3), uint8 RGB.
            options: How; the papers' modes have no fingerprint signal.
            signals: Which of `SIGNALS` are wanted; one without its model is left out.
            query_fingerprint: Shape (D,), float32, when it is known already.
            provided: Resyntheses made elsewhere, per candidate; they join those made here.

        Raises:
            UsageError: There is neither a prompt nor a captioner, or nothing to compare with.
            BackendError: A model failed.
        """
        wanted = self._wanted(signals, options)
        if not wanted or not (self.names or provided):
            raise UsageError(
                f"Nothing here gives the evidence {', '.join(signals)}.",
                hint="It takes a lineup with generators: `lineup lineups list` shows them.",
            )
        meter = CostMeter()
        caption = self._prompt(query, options, meter) if self.names else None
        pictures = self._maker.pictures(caption, options.seeds, meter)
        pictures += _pictures_from_provided(provided)
        closeness: dict[str, Float64Array] = {}
        if RESYNTHESIS in wanted:
            closeness[RESYNTHESIS] = self._closeness(query, pictures, options, meter)
        if RESYNTHESIS_FINGERPRINT in wanted:
            cosines = self._cosines(query, pictures, query_fingerprint, meter)
            closeness[RESYNTHESIS_FINGERPRINT] = cosines
        groups = {name: _by_candidate(pictures, values) for name, values in closeness.items()}
        return Resynthesis(
            caption=caption,
            pictures={name: _pictures_of(pictures, name) for name in groups[wanted[0]]},
            best={name: int(np.argmax(values)) for name, values in groups[wanted[0]].items()},
            evidence=tuple(_evidence(name, groups, options, meter) for name in wanted),
            cost=meter.cost(),
        )

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
        if options.distance.needs_features and self._encoder is not None:
            layer = options.encoder_layer
            settings["encoder_layer"] = self._encoder.default_layer if layer is None else layer
        return {RESYNTHESIS: settings, RESYNTHESIS_FINGERPRINT: gamma}

    def _wanted(self, signals: Sequence[str], options: ResynthesisOptions) -> list[str]:
        """Return the signals to give, the one that decides which picture is best first."""
        known = self.signals if options.mode is Mode.DEFAULT else (RESYNTHESIS,)
        return [name for name in self.signals if name in signals and name in known]

    def _prompt(self, query: RgbImage, options: ResynthesisOptions, meter: CostMeter) -> str:
        if options.prompt is not None:
            return options.prompt
        if self._captioner is None:
            raise UsageError(
                "The lineup has no captioner, so the query's prompt has to be given.",
                hint="Pass it with --prompt TEXT.",
            )
        with meter.call(cost.CAPTION, 1):
            return self._captioner.captions([query])[0].text

    def _closeness(
        self,
        query: RgbImage,
        pictures: Sequence[Picture],
        options: ResynthesisOptions,
        meter: CostMeter,
    ) -> Float64Array:
        """Return how close each picture is by the distance asked for, shape (pictures,)."""
        parts = []
        if options.distance.needs_features:
            rows = self._features(query, pictures, options.encoder_layer, meter)
            parts.append(feature_closeness(rows[0], rows[1:], options.distance))
        if options.distance.needs_pixels:
            with meter.call(cost.PIXELS, len(pictures)):
                parts.append(pixel_closeness(query, [one.pixels for one in pictures]))
        return np.asarray(np.mean(parts, axis=0), np.float64)

    def _features(
        self,
        query: RgbImage,
        pictures: Sequence[Picture],
        layer: EncoderLayer,
        meter: CostMeter,
    ) -> Float32Array:
        encoder = self._encoder
        assert encoder is not None
        layer = encoder.default_layer if layer is None else layer
        model = VectorModel(
            stage=cost.ENCODE,
            parts={"encoder": encoder.digest, "layer": layer},
            compute=lambda images: encoder.features(images, layer),
        )
        return VectorTable(model, self._cache).rows(query, pictures, meter)

    def _cosines(
        self,
        query: RgbImage,
        pictures: Sequence[Picture],
        known: Float32Array | None,
        meter: CostMeter,
    ) -> Float64Array:
        fingerprinter = self._fingerprinter
        assert fingerprinter is not None
        model = VectorModel(
            stage=cost.FINGERPRINT,
            parts={"fingerprint": fingerprinter.digest},
            compute=fingerprinter.fingerprints,
        )
        rows = VectorTable(model, self._cache).rows(query, pictures, meter, known_query=known)
        return np.asarray(rows[1:].astype(np.float64) @ rows[0], np.float64)


def _pictures_from_provided(provided: Mapping[str, Sequence[ProvidedImage]]) -> list[Picture]:
    return [
        Picture(name, one.pixels, {"sha256": one.sha256})
        for name, images in provided.items()
        for one in images
    ]


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
