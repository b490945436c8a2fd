"""The pictures that candidates draw of a prompt, each drawn once and then taken from the cache."""

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


class PictureMaker:
    """Draws prompts with every candidate.

    Args:
        generators: Per candidate; owned by the caller.
        cache: Keeps pictures; None keeps nothing.
    """

    def __init__(self, generators: Mapping[str, Redrawer[Any]], cache: ResultCache | None) -> None:
        self._generators = dict(generators)
        self._cache = cache

    def pictures(self, prompt: str | None, seeds: Sequence[int], meter: CostMeter) -> list[Picture]:
        """Return one picture per candidate and seed, candidate by candidate.

        Candidates with the same text encoders share its states, which are computed once, and not
        at all when the cache has every picture.
        """
        if prompt is None:
            return []
        states: dict[str, Any] = {}
        made = []
        for name, generator in self._generators.items():
            parts = [_parts(generator, prompt, seed) for seed in seeds]
            found = [None if self._cache is None else self._cache.image(one) for one in parts]
            missing = [row for row, image in enumerate(found) if image is None]
            meter.add_cached(cost.GENERATE, len(seeds) - len(missing))
            if missing:
                if generator.text_digest not in states:
                    states[generator.text_digest] = _text_states(generator, prompt, meter)
                drawn = _drawn(
                    generator, states[generator.text_digest], [seeds[row] for row in missing], meter
                )
                for row, image in zip(missing, drawn, strict=True):
                    found[row] = image
                    if self._cache is not None:
                        self._cache.write_image(parts[row], image)
            made += [
                Picture(name, image, one)
                for image, one in zip(found, parts, strict=True)
                if image is not None
            ]
        return made


def _parts(generator: Redrawer[Any], prompt: str, seed: int) -> Mapping[str, Any]:
    return {
        "drawing": DRAWING_VERSION,
        "generator": generator.digest,
        "prompt": prompt,
        "seed": seed,
    }


def _text_states(generator: Redrawer[Any], prompt: str, meter: CostMeter) -> Any:
    with meter.call(cost.TEXT, 1), meter.graphs_of(generator.clock):
        return generator.text_states([prompt])


def _drawn(
    generator: Redrawer[Any], states: Any, seeds: Sequence[int], meter: CostMeter
) -> Sequence[RgbImage]:
    with meter.call(cost.GENERATE, len(seeds)), meter.graphs_of(generator.clock):
        return generator.images(states, seeds)
