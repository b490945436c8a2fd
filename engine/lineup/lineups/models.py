"""Opening the models of a lineup that resynthesise queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from lineup.closing import ClosesOnExit
from lineup.fingerprint import FingerprintExtractor
from lineup.lineups.store import Lineup
from lineup.models.captioner import Captioner
from lineup.models.encoder import ImageEncoder
from lineup.models.generator import ImageGenerator
from lineup.resynthesis.cache import open_cache
from lineup.resynthesis.making import ModelSource
from lineup.resynthesis.resynthesizer import Resynthesizer
from lineup.runtime import Runtime

Model = TypeVar("Model", bound=ClosesOnExit)


@dataclass(frozen=True, slots=True, eq=False)
class ResynthesisModels(ClosesOnExit):
    """A resynthesizer, and what an engine has to know of its models.

    Attributes:
        resynthesizer: Lets candidates resynthesise queries and compares.
        families: Name of the VAE family per candidate that can resynthesise.
        digests: Identities of all models.
        owned: Closes the models.
    """

    resynthesizer: Resynthesizer
    families: Mapping[str, str] = field(default_factory=dict)
    digests: tuple[str, ...] = ()
    owned: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        """Release the models."""
        self.owned.close()


def open_resynthesis_models(
    lineup: Lineup,
    fingerprinter: FingerprintExtractor | None,
    *,
    runtime: Runtime,
    cache: bool = True,
    keep: bool = True,
) -> ResynthesisModels:
    """Verify the captioner, encoder and generators of a lineup, and load them.

    With `cache`, resyntheses and their features are kept on disk. Models that are not kept are
    loaded when they have work, for all queries of a call, and released before the next one is.
    The fingerprinter is owned by the caller.

    Raises:
        BundleError: A bundle is absent, altered or of another kind.
        DeviceUnavailableError: The device was asked for and is not usable.
    """
    with ExitStack() as stack:
        models, digests, generators = (
            _kept(lineup, runtime, stack) if keep else _loading(lineup, runtime)
        )
        resynthesizer = Resynthesizer(
            models, fingerprinter=fingerprinter, cache=open_cache() if cache else None
        )
        families = {name: generator.vae_family for name, generator in generators.items()}
        return ResynthesisModels(resynthesizer, families, digests, stack.pop_all())


Opened = tuple[ModelSource, tuple[str, ...], dict[str, ImageGenerator]]
"""The models, their digests, and the generators by candidate; these load no graph by themselves."""


def _kept(lineup: Lineup, runtime: Runtime, stack: ExitStack) -> Opened:
    spec = lineup.spec

    def opened(kind: Callable[..., Model], reference: str | None) -> Model | None:
        if reference is None:
            return None
        model = runtime.open(kind, lineup.bundle(reference))
        stack.push(model)
        return model

    captioner, encoder = opened(Captioner, spec.captioner), opened(ImageEncoder, spec.encoder)
    found = {one.name: opened(ImageGenerator, one.bundle) for one in spec.candidates}
    generators = {name: one for name, one in found.items() if one is not None}
    digests = [one.digest for one in (captioner, encoder, *generators.values()) if one is not None]
    return ModelSource.kept(generators, captioner, encoder), tuple(digests), generators


def _loading(lineup: Lineup, runtime: Runtime) -> Opened:
    spec = lineup.spec

    def opener(kind: Callable[..., Model], reference: str | None) -> Callable[[], Model] | None:
        if reference is None:
            return None
        return partial(kind, runtime.bundle(lineup.bundle(reference)), *runtime.place)

    captioner, encoder = opener(Captioner, spec.captioner), opener(ImageEncoder, spec.encoder)
    traits = None if encoder is None else encoder()  # loads no graph until features are asked for
    staged = partial(ImageGenerator, keep_graphs=False)
    found = {one.name: opener(staged, one.bundle) for one in spec.candidates}
    openers = {name: one for name, one in found.items() if one is not None}
    generators = {name: open_model() for name, open_model in openers.items()}
    digests = [one.digest for one in (traits, *generators.values()) if one is not None]
    if spec.captioner is not None:
        digests.insert(0, runtime.bundle(lineup.bundle(spec.captioner)).digest)
    return ModelSource.loading(openers, captioner, encoder, traits), tuple(digests), generators
