"""The pictures that candidates draw of prompts, each drawn once and then taken from the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lineup.evidence import resynthesis_cost as cost
from lineup.evidence.cache import ResultCache
from lineup.evidence.resynthesis_cost import CostMeter
from lineup.evidence.resynthesis_models import Redrawer
from lineup.types import RgbImage

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

        All prompts are encoded before the first is drawn. A text that comes twice is drawn once.

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
        open_drawings = [one for one in drawings.values() if one.missing]
        for drawing in open_drawings:
            self._encode(generator, drawing.prompt)
        for drawing in open_drawings:
            self._draw(generator, drawing)
        return [drawings[prompt.text].pictures(candidate) for prompt in prompts]

    def _looked_up(self, generator: Redrawer[Any], prompt: Prompt) -> _Drawing:
        """Take from the cache what it has."""
        with prompt.meter.running():
            parts = [_parts(generator, prompt.text, seed) for seed in self._seeds]
            found = [None if self._cache is None else self._cache.image(one) for one in parts]
            drawing = _Drawing(prompt, parts, found)
            prompt.meter.add_cached(cost.GENERATE, len(parts) - len(drawing.missing))
        return drawing

    def _encode(self, generator: Redrawer[Any], prompt: Prompt) -> None:
        key = (generator.text_digest, prompt.text)
        if key in self._states:
            return
        meter = prompt.meter
        with meter.running(), meter.call(cost.TEXT, 1), meter.graphs_of(generator.clock):
            self._states[key] = generator.text_states([prompt.text])

    def _draw(self, generator: Redrawer[Any], drawing: _Drawing) -> None:
        states = self._states[generator.text_digest, drawing.prompt.text]
        missing = drawing.missing
        seeds = [self._seeds[row] for row in missing]
        meter = drawing.prompt.meter
        with meter.running():
            with meter.call(cost.GENERATE, len(seeds)), meter.graphs_of(generator.clock):
                drawn = generator.images(states, seeds)
            for row, image in zip(missing, drawn, strict=True):
                drawing.found[row] = image
                if self._cache is not None:
                    self._cache.write_image(drawing.parts[row], image)


@dataclass(frozen=True, slots=True)
class _Drawing:
    """A prompt's pictures by one candidate, as far as they are there."""

    prompt: Prompt
    parts: Sequence[Mapping[str, Any]]
    found: list[RgbImage | None]

    @property
    def missing(self) -> list[int]:
        return [row for row, image in enumerate(self.found) if image is None]

    def pictures(self, candidate: str) -> list[Picture]:
        return [
            Picture(candidate, image, parts)
            for image, parts in zip(self.found, self.parts, strict=True)
            if image is not None
        ]


def _parts(generator: Redrawer[Any], prompt: str, seed: int) -> Mapping[str, Any]:
    return {
        "drawing": DRAWING_VERSION,
        "generator": generator.digest,
        "prompt": prompt,
        "seed": seed,
    }
