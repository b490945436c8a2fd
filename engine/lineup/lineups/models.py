"""Opening the models of a lineup that resynthesise queries."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial

from lineup.closing import ClosesOnExit
from lineup.fingerprint import FingerprintExtractor
from lineup.lineups.store import Lineup
from lineup.models.captioner import Captioner
from lineup.models.encoder import ImageEncoder
from lineup.models.generator import ImageGenerator
from lineup.resynthesis.cache import open_cache
from lineup.resynthesis.models import ModelSource
from lineup.resynthesis.resynthesizer import Resynthesizer
from lineup.runtime import Runtime


class ResynthesisModels(ClosesOnExit):
    """A resynthesizer, and what an engine has to know of its models.

    Args:
        resynthesizer: Lets candidates resynthesise queries and compares.
        families: Name of the VAE family per candidate that can resynthesise.
        digests: Identities of all models.
        owned: Closes the models.
    """

    def __init__(
        self,
        resynthesizer: Resynthesizer,
        *,
        families: Mapping[str, str] | None = None,
        digests: tuple[str, ...] = (),
        owned: ExitStack | None = None,
    ) -> None:
        self.resynthesizer = resynthesizer
        self.families = dict(families or {})
        self.digests = digests
        self._owned = owned or ExitStack()

    def close(self) -> None:
        """Release the models."""
        self._owned.close()


def open_resynthesis_models(
    lineup: Lineup,
    fingerprinter: FingerprintExtractor | None,
    *,
    runtime: Runtime,
    cache: bool = True,
    keep: bool = True,
) -> ResynthesisModels:
    """Verify the captioner, encoder and generators of a lineup, and load them.

    Args:
        lineup: The lineup.
        fingerprinter: Owned by the caller.
        runtime: Opens bundles and models.
        cache: Whether resyntheses and their features are kept on disk.
        keep: Whether models stay loaded; otherwise each is loaded when it has work, for all
            queries of a call, and released before the next one is.

    Raises:
        BundleError: A bundle is absent, altered or of another kind.
        DeviceUnavailableError: The device was asked for and is not usable.
    """
    with ExitStack() as stack:
        if keep:
            models, digests, families = _kept(lineup, runtime, stack)
        else:
            models, digests, families = _loading(lineup, runtime)
        return ResynthesisModels(
            Resynthesizer(
                models, fingerprinter=fingerprinter, cache=open_cache() if cache else None
            ),
            families=families,
            digests=digests,
            owned=stack.pop_all(),
        )


Opened = tuple[ModelSource, tuple[str, ...], dict[str, str]]
"""The models, their digests, and the VAE family per candidate."""


def _kept(lineup: Lineup, runtime: Runtime, stack: ExitStack) -> Opened:
    spec = lineup.spec
    captioner = encoder = None
    if spec.captioner is not None:
        captioner = stack.enter_context(runtime.open(Captioner, lineup.bundle(spec.captioner)))
    if spec.encoder is not None:
        encoder = stack.enter_context(runtime.open(ImageEncoder, lineup.bundle(spec.encoder)))
    generators = {
        candidate.name: stack.enter_context(
            runtime.open(ImageGenerator, lineup.bundle(candidate.bundle))
        )
        for candidate in spec.candidates
        if candidate.bundle is not None
    }
    models = (captioner, encoder, *generators.values())
    return (
        ModelSource.kept(generators, captioner, encoder),
        tuple(model.digest for model in models if model is not None),
        _families(generators),
    )


def _loading(lineup: Lineup, runtime: Runtime) -> Opened:
    spec = lineup.spec
    captioner = encoder = traits = None
    digests = []
    if spec.captioner is not None:
        bundle = runtime.bundle(lineup.bundle(spec.captioner))
        captioner = partial(Captioner, bundle, *runtime.place)
        digests.append(bundle.digest)
    if spec.encoder is not None:
        bundle = runtime.bundle(lineup.bundle(spec.encoder))
        encoder = partial(ImageEncoder, bundle, *runtime.place)
        traits = encoder()  # loads no graph until features are asked for
        digests.append(bundle.digest)
    openers = {
        candidate.name: partial(
            ImageGenerator,
            runtime.bundle(lineup.bundle(candidate.bundle)),
            *runtime.place,
            keep_graphs=False,
        )
        for candidate in spec.candidates
        if candidate.bundle is not None
    }
    generators = {name: open_model() for name, open_model in openers.items()}
    return (
        ModelSource.loading(openers, captioner, encoder, traits),
        (*digests, *(one.digest for one in generators.values())),
        _families(generators),
    )


def _families(generators: Mapping[str, ImageGenerator]) -> dict[str, str]:
    return {name: generator.vae_family for name, generator in generators.items()}
