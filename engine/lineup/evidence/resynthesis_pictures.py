"""The pictures that candidates draw of prompts, each drawn once and then taken from the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lineup import trace as cost
from lineup.evidence.cache import ResultCache
from lineup.evidence.resynthesis_models import Redrawer
from lineup.trace import CostMeter
from lineup.types import Float32Array, RgbImage

DRAWING_VERSION = 1
"""Raised when the same bundle, prompt and seed come to give another picture."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A resynthesis.

    Attributes:
        candidate: Who drew it.
        pixels: Shape (H, W, 3), uint8 RGB.
        parts: What it follows from, as JSON values; its features are kept under it.
    """

    candidate: str
    pixels: RgbImage
    parts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is to be drawn for one query.

    Attributes:
        text: The prompt.
        meter: Counts what it costs.
    """

    text: str
    meter: CostMeter


class PictureMaker:
    """Draws prompts, candidate after candidate; made for one round of work.

    Candidates with the same text encoders share a prompt's states, which are computed once, and
    not at all when the cache has every picture.

    Args:
        seeds: One picture per candidate, prompt and seed.
        cache: Keeps pictures; None keeps nothing.
    """

    def __init__(self, seeds: Sequence[int], cache: ResultCache | None) -> None:
        self._seeds = seeds
        self._cache = cache
        self._states: dict[tuple[str, str], Any] = {}

    def pictures(
        self, candidate: str, generator: Redrawer[Any], prompts: Sequence[Prompt]
    ) -> list[list[Picture]]:
        """Return one candidate's pictures of each prompt, in the order of the seeds.

        All prompts are encoded before the first is denoised, and all are denoised before the first
        is decoded, so that a generator needs one of its graphs at a time. A text that comes twice
        is drawn once.

        Args:
            candidate: Its name.
            generator: Its model.
            prompts: One per query.
        """
        drawings: dict[str, _Drawing] = {}
        for prompt in prompts:
            known = drawings.get(prompt.text)
            if known is None:
                drawings[prompt.text] = self._looked_up(generator, prompt)
            else:
                prompt.meter.add_cached(cost.GENERATE, len(self._seeds))
        undenoised = [one for one in drawings.values() if one.undenoised]
        for drawing in undenoised:
            self._encode(generator, drawing.prompt)
        for drawing in undenoised:
            self._denoise(generator, drawing)
            if len(undenoised) > 1:  # it waits for the others, and should outlive being cut off
                self._keep_latents(drawing)
        for drawing in drawings.values():
            if drawing.missing:
                self._decode(generator, drawing)
        return [drawings[prompt.text].pictures(candidate) for prompt in prompts]

    def _looked_up(self, generator: Redrawer[Any], prompt: Prompt) -> _Drawing:
        """Take from the cache what it has."""
        with prompt.meter.running():
            parts = [_parts(generator, prompt.text, seed) for seed in self._seeds]
            drawing = _Drawing(prompt, parts)
            if self._cache is not None:
                for row, one in enumerate(parts):
                    drawing.found[row] = self._cache.image(one)
                for row in drawing.missing:
                    drawing.latents[row] = self._cache.features(_latents_of(parts[row]))
            prompt.meter.add_cached(cost.GENERATE, len(parts) - len(drawing.missing))
        return drawing

    def _encode(self, generator: Redrawer[Any], prompt: Prompt) -> None:
        key = (generator.text_digest, prompt.text)
        if key in self._states:
            return
        meter = prompt.meter
        with meter.running(), meter.call(cost.TEXT, 1), meter.graphs_of(generator.clock):
            self._states[key] = generator.text_states([prompt.text])

    def _denoise(self, generator: Redrawer[Any], drawing: _Drawing) -> None:
        states = self._states[generator.text_digest, drawing.prompt.text]
        rows, meter = drawing.undenoised, drawing.prompt.meter
        with meter.running(), meter.part(cost.GENERATE), meter.graphs_of(generator.clock):
            made = generator.latents(states, [self._seeds[row] for row in rows])
        for row, latents in zip(rows, made, strict=True):
            drawing.latents[row] = latents

    def _keep_latents(self, drawing: _Drawing) -> None:
        if self._cache is None:
            return
        with drawing.prompt.meter.running():
            for parts, latents in zip(drawing.parts, drawing.latents, strict=True):
                if latents is not None:
                    self._cache.write_features(_latents_of(parts), latents)

    def _decode(self, generator: Redrawer[Any], drawing: _Drawing) -> None:
        rows, meter = drawing.missing, drawing.prompt.meter
        latents = np.stack([one for one in drawing.latents if one is not None])
        with meter.running():
            with meter.call(cost.GENERATE, len(rows)), meter.graphs_of(generator.clock):
                drawn = generator.images_from_latents(latents)
            for row, image in zip(rows, drawn, strict=True):
                drawing.found[row] = image
                if self._cache is not None:
                    self._cache.write_image(drawing.parts[row], image)
                    self._cache.drop_features(_latents_of(drawing.parts[row]))


class _Drawing:
    """A prompt's pictures by one candidate, as far as they are there; one row per seed.

    Latents are there only for pictures that are not.
    """

    def __init__(self, prompt: Prompt, parts: Sequence[Mapping[str, Any]]) -> None:
        self.prompt = prompt
        self.parts = parts
        self.found: list[RgbImage | None] = [None] * len(parts)
        self.latents: list[Float32Array | None] = [None] * len(parts)

    @property
    def missing(self) -> list[int]:
        return [row for row, image in enumerate(self.found) if image is None]

    @property
    def undenoised(self) -> list[int]:
        return [row for row in self.missing if self.latents[row] is None]

    def pictures(self, candidate: str) -> list[Picture]:
        return [
            Picture(candidate, image, parts)
            for image, parts in zip(self.found, self.parts, strict=True)
            if image is not None
        ]


def _latents_of(parts: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"latents of": dict(parts)}


def _parts(generator: Redrawer[Any], prompt: str, seed: int) -> Mapping[str, Any]:
    return {
        "drawing": DRAWING_VERSION,
        "generator": generator.digest,
        "prompt": prompt,
        "seed": seed,
    }
