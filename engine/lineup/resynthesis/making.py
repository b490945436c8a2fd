"""Resyntheses that candidates make of captions, each made once, then taken from the cache.

Whoever needs a model takes it from a `ModelSource` for a block of work: one that is kept for all
queries, or one that is loaded at the start of the block and released at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from lineup.closing import ClosesOnExit
from lineup.machine import return_freed_memory
from lineup.query import Query
from lineup.results import Resynthesis
from lineup.resynthesis.cache import ResultCache
from lineup.trace import GENERATE, TEXT, Trace
from lineup.types import Float32Array, RgbImage

if TYPE_CHECKING:
    from lineup.models.captioner import Captioner
    from lineup.models.encoder import ImageEncoder
    from lineup.models.generator import ImageGenerator

Model = TypeVar("Model", bound=ClosesOnExit)

VERSION = 1
"""Raised when the same bundle, caption and seed come to give another resynthesis."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelSource:
    """Hands out the models that resynthesise and compare, each for a block of work.

    Attributes:
        generators: Per candidate that can resynthesise.
        captioner: Describes queries; None when prompts are always given.
        encoder: Gives image features; None when they are never compared.
        encoder_traits: Tells the encoder's digest and default layer; its graphs need not be loaded.
    """

    generators: Mapping[str, Callable[[], AbstractContextManager[ImageGenerator]]] = field(
        default_factory=dict
    )
    captioner: Callable[[], AbstractContextManager[Captioner]] | None = None
    encoder: Callable[[], AbstractContextManager[ImageEncoder]] | None = None
    encoder_traits: ImageEncoder | None = None

    @classmethod
    def kept(
        cls,
        generators: Mapping[str, ImageGenerator],
        captioner: Captioner | None = None,
        encoder: ImageEncoder | None = None,
    ) -> ModelSource:
        """Return a source of models that stay loaded and that the caller owns."""
        return cls(
            {name: _kept(one) for name, one in generators.items()},
            None if captioner is None else _kept(captioner),
            None if encoder is None else _kept(encoder),
            encoder,
        )

    @classmethod
    def loading(
        cls,
        generators: Mapping[str, Callable[[], ImageGenerator]],
        captioner: Callable[[], Captioner] | None = None,
        encoder: Callable[[], ImageEncoder] | None = None,
        encoder_traits: ImageEncoder | None = None,
    ) -> ModelSource:
        """Return a source that opens a model for a block and closes it at its end."""
        return cls(
            {name: partial(_loaded, one) for name, one in generators.items()},
            None if captioner is None else partial(_loaded, captioner),
            None if encoder is None else partial(_loaded, encoder),
            encoder_traits,
        )


class ResynthesisMaker:
    """Makes resyntheses of captions, candidate after candidate; made for one round of work.

    Candidates with the same text encoders share a caption's states, which are computed once, and
    not at all when the cache has every resynthesis.

    Args:
        seeds: One resynthesis per candidate, caption and seed.
        cache: Keeps resyntheses; None keeps nothing.
    """

    def __init__(self, seeds: Sequence[int], cache: ResultCache | None) -> None:
        self._seeds = seeds
        self._cache = cache
        self._states: dict[tuple[str, str], Any] = {}

    def make(self, candidate: str, generator: ImageGenerator, queries: Sequence[Query]) -> None:
        """Add one candidate's resyntheses to each query, in the order of the seeds.

        All captions are encoded before the first is denoised, and all are denoised before the first
        is decoded, so that a generator needs one of its graphs at a time. A caption that comes
        twice is resynthesised once.
        """
        jobs: dict[str, _Job] = {}
        for query in queries:
            caption = query.caption or ""
            if caption in jobs:
                query.trace.add_cached(GENERATE, len(self._seeds))
            else:
                jobs[caption] = self._looked_up(generator, caption, query.trace)
        undenoised = [job for job in jobs.values() if job.undenoised]
        for job in undenoised:
            self._encode(generator, job)
        for job in undenoised:
            self._denoise(generator, job)
            if len(undenoised) > 1:  # it waits for the others, and should outlive being cut off
                self._keep_latents(job)
        for job in jobs.values():
            if job.missing:
                self._decode(generator, job)
        for query in queries:
            query.made += jobs[query.caption or ""].resyntheses(candidate)

    def _looked_up(self, generator: ImageGenerator, caption: str, trace: Trace) -> _Job:
        """Take from the cache what it has."""
        with trace.running():
            parts = [_parts(generator, caption, seed) for seed in self._seeds]
            job = _Job(caption, parts, trace)
            if self._cache is not None:
                for row, one in enumerate(parts):
                    job.found[row] = self._cache.image(one)
                for row in job.missing:
                    job.latents[row] = self._cache.features(_latents_of(parts[row]))
            trace.add_cached(GENERATE, len(parts) - len(job.missing))
        return job

    def _encode(self, generator: ImageGenerator, job: _Job) -> None:
        key = (generator.text_digest, job.caption)
        if key in self._states:
            return
        trace = job.trace
        with trace.running(), trace.call(TEXT), trace.graphs_of(generator.trace):
            self._states[key] = generator.text_states([job.caption])

    def _denoise(self, generator: ImageGenerator, job: _Job) -> None:
        states = self._states[generator.text_digest, job.caption]
        rows, trace = job.undenoised, job.trace
        with trace.running(), trace.part(GENERATE), trace.graphs_of(generator.trace):
            made = generator.latents(states, [self._seeds[row] for row in rows])
        for row, latents in zip(rows, made, strict=True):
            job.latents[row] = latents

    def _keep_latents(self, job: _Job) -> None:
        if self._cache is None:
            return
        with job.trace.running():
            for parts, latents in zip(job.parts, job.latents, strict=True):
                if latents is not None:
                    self._cache.write_features(_latents_of(parts), latents)

    def _decode(self, generator: ImageGenerator, job: _Job) -> None:
        rows, trace = job.missing, job.trace
        latents = np.stack([one for one in job.latents if one is not None])
        with trace.running():
            with trace.call(GENERATE, len(rows)), trace.graphs_of(generator.trace):
                images = generator.images_from_latents(latents)
            for row, image in zip(rows, images, strict=True):
                job.found[row] = image
                if self._cache is not None:
                    self._cache.write_image(job.parts[row], image)
                    self._cache.drop_features(_latents_of(job.parts[row]))


class _Job:
    """One caption's resyntheses by one candidate, as far as they are there; one row per seed.

    Latents are there only for resyntheses that are not.
    """

    def __init__(self, caption: str, parts: Sequence[Mapping[str, Any]], trace: Trace) -> None:
        self.caption = caption
        self.parts = parts
        self.trace = trace
        self.found: list[RgbImage | None] = [None] * len(parts)
        self.latents: list[Float32Array | None] = [None] * len(parts)

    @property
    def missing(self) -> list[int]:
        return [row for row, image in enumerate(self.found) if image is None]

    @property
    def undenoised(self) -> list[int]:
        return [row for row in self.missing if self.latents[row] is None]

    def resyntheses(self, candidate: str) -> list[Resynthesis]:
        return [
            Resynthesis(candidate, image, parts)
            for image, parts in zip(self.found, self.parts, strict=True)
            if image is not None
        ]


def _latents_of(parts: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"latents of": dict(parts)}


def _parts(generator: ImageGenerator, caption: str, seed: int) -> Mapping[str, Any]:
    return {
        "resynthesis": VERSION,
        "generator": generator.digest,
        "caption": caption,
        "seed": seed,
    }


def _kept(model: Model) -> Callable[[], AbstractContextManager[Model]]:
    return lambda: nullcontext(model)


@contextmanager
def _loaded(open_model: Callable[[], Model]) -> Iterator[Model]:
    with open_model() as model:
        yield model
    return_freed_memory()
