"""Resyntheses of several queries, stage by stage: captions, each candidate's pictures, features.

Every model is taken from its source once, for all queries. The models are called for one query
after the other, with the same inputs whatever the other queries are, so that a chunk of queries
gets the results, to the last bit, that each would get alone. Only the pictures wait in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lineup import trace as cost
from lineup.evidence.cache import ResultCache
from lineup.evidence.distances import Float64Array, feature_closeness, pixel_closeness
from lineup.evidence.provided import NONE_PROVIDED, ProvidedImage
from lineup.evidence.resynthesis_models import FeatureEncoder, FingerprintModel
from lineup.evidence.resynthesis_options import EncoderLayer, ResynthesisOptions
from lineup.evidence.resynthesis_pictures import Picture, PictureMaker, Prompt
from lineup.evidence.resynthesis_sources import ModelSource
from lineup.evidence.resynthesis_vectors import VectorModel, VectorTable
from lineup.trace import CostMeter
from lineup.types import Float32Array, RgbImage


@dataclass(frozen=True, slots=True, eq=False)
class RedrawQuery:
    """A query that is to be redrawn.

    Attributes:
        pixels: Shape (H, W, 3), uint8 RGB.
        fingerprint: Shape (D,), float32, when it is known already.
        provided: Resyntheses made elsewhere, per candidate; they join those made here.
        candidates: Who redraws it; None is every candidate that can.
    """

    pixels: RgbImage
    fingerprint: Float32Array | None = None
    provided: Mapping[str, Sequence[ProvidedImage]] = field(default_factory=lambda: NONE_PROVIDED)
    candidates: tuple[str, ...] | None = None


class Redraw:
    """A query on its way through the stages.

    Attributes:
        query: As given.
        names: The candidates that redraw it, in the order of the work.
        meter: Collects its cost.
        caption: What is drawn; None until it is known, or when nothing is.
        pictures: Its resyntheses so far.
    """

    def __init__(self, query: RedrawQuery, names: Sequence[str]) -> None:
        asked = names if query.candidates is None else query.candidates
        self.query = query
        self.names = tuple(name for name in names if name in asked)
        self.meter = CostMeter()
        self.caption: str | None = None
        self.pictures: list[Picture] = []


class RedrawStages:
    """The stages of resynthesis over a chunk of queries; call them in the order of definition.

    Args:
        models: Hands out the models.
        cache: Keeps pictures and features; None keeps nothing.
        options: How resyntheses are made and compared.
    """

    def __init__(
        self, models: ModelSource, cache: ResultCache | None, options: ResynthesisOptions
    ) -> None:
        self._models = models
        self._cache = cache
        self._options = options

    def caption(self, redraws: Sequence[Redraw]) -> None:
        """Describe every query that a candidate redraws.

        Raises:
            UsageError: There is neither a prompt nor a captioner.
            BackendError: The captioner failed.
        """
        drawn = [one for one in redraws if one.names]
        if self._options.prompt is not None or not drawn:
            for one in drawn:
                one.caption = self._options.prompt
            return
        with self._models.captioner() as captioner:
            for one in drawn:
                with one.meter.running(), one.meter.call(cost.CAPTION, 1):
                    one.caption = captioner.captions([one.query.pixels])[0].text

    def draw(self, redraws: Sequence[Redraw]) -> None:
        """Let one candidate after the other draw all captions; then add what is provided.

        Raises:
            BackendError: A generator failed.
        """
        maker = PictureMaker(self._options.seeds, self._cache)
        for name in self._models.names:
            drawn = [one for one in redraws if name in one.names]
            if not drawn:
                continue
            prompts = [Prompt(one.caption or "", one.meter) for one in drawn]
            with self._models.generator(name) as generator:
                made = maker.pictures(name, generator, prompts)
            for one, pictures in zip(drawn, made, strict=True):
                one.pictures += pictures
        for one in redraws:
            one.pictures += _pictures_from_provided(one.query.provided)

    def closeness(self, redraws: Sequence[Redraw]) -> list[Float64Array]:
        """Return how close each picture is by the distance asked for, shape (pictures,) each.

        Raises:
            BackendError: The encoder failed.
        """
        parts: list[list[Float64Array]] = [[] for _ in redraws]
        if self._options.distance.needs_features:
            with self._models.encoder() as encoder:
                for one, values in zip(redraws, parts, strict=True):
                    values.append(self._feature_closeness(one, encoder))
        if self._options.distance.needs_pixels:
            for one, values in zip(redraws, parts, strict=True):
                images = [picture.pixels for picture in one.pictures]
                with one.meter.running(), one.meter.call(cost.PIXELS, len(images)):
                    values.append(pixel_closeness(one.query.pixels, images))
        return [np.asarray(np.mean(values, axis=0), np.float64) for values in parts]

    def cosines(
        self, redraws: Sequence[Redraw], fingerprinter: FingerprintModel
    ) -> list[Float64Array]:
        """Return the cosine of each picture's fingerprint with the query's, (pictures,) each.

        Raises:
            BackendError: The fingerprint model failed.
        """
        model = VectorModel(
            stage=cost.FINGERPRINT,
            parts={"fingerprint": fingerprinter.digest},
            compute=fingerprinter.fingerprints,
        )
        table = VectorTable(model, self._cache)
        cosines = []
        for one in redraws:
            with one.meter.running():
                rows = table.rows(
                    one.query.pixels, one.pictures, one.meter, known_query=one.query.fingerprint
                )
                cosines.append(np.asarray(rows[1:].astype(np.float64) @ rows[0], np.float64))
        return cosines

    def _feature_closeness(self, redraw: Redraw, encoder: FeatureEncoder) -> Float64Array:
        layer: EncoderLayer = self._options.encoder_layer
        layer = encoder.default_layer if layer is None else layer
        model = VectorModel(
            stage=cost.ENCODE,
            parts={"encoder": encoder.digest, "layer": layer},
            compute=lambda images: encoder.features(images, layer),
        )
        with redraw.meter.running():
            table = VectorTable(model, self._cache)
            rows = table.rows(redraw.query.pixels, redraw.pictures, redraw.meter)
            return feature_closeness(rows[0], rows[1:], self._options.distance)


def _pictures_from_provided(provided: Mapping[str, Sequence[ProvidedImage]]) -> list[Picture]:
    return [
        Picture(name, one.pixels, {"sha256": one.sha256})
        for name, images in provided.items()
        for one in images
    ]
