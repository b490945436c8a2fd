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
from lineup.stored.asking import AskedCandidate
from lineup.stored.store import open_stored

Model = TypeVar("Model", bound=ClosesOnExit)


@dataclass(frozen=True, slots=True, eq=False)
class ResynthesisModels(ClosesOnExit):
    """A resynthesizer, and what an engine has to know of its models.

    Attributes:
        resynthesizer: Lets candidates resynthesise queries and compares.
        families: Name of the VAE family per candidate that can resynthesise.
        digests: Identities of all models, and the precision that the device reduces them to.
        owned: Closes the models.
        runtime: Where they run.
    """

    resynthesizer: Resynthesizer
    families: Mapping[str, str] = field(default_factory=dict)
    digests: tuple[str, ...] = ()
    owned: ExitStack = field(default_factory=ExitStack)
    runtime: Runtime = field(default_factory=Runtime)

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
    spec = lineup.spec
    with ExitStack() as stack:

        def opener(kind: Callable[..., Model], reference: str | None) -> Callable[[], Model] | None:
            if reference is None:
                return None
            if not keep:
                bundle = runtime.bundle(lineup.bundle(reference))
                return partial(kind, bundle, *runtime.place_of(bundle))
            model = runtime.open(kind, lineup.bundle(reference))
            stack.push(model)
            return lambda: model

        captioner, encoder = opener(Captioner, spec.captioner), opener(ImageEncoder, spec.encoder)
        kind = ImageGenerator if keep else partial(ImageGenerator, keep_graphs=False)
        found = {one.name: opener(kind, one.bundle) for one in spec.candidates}
        openers = {name: one for name, one in found.items() if one is not None}
        # Of models that are not kept, these load no graph until they have work.
        traits = None if encoder is None else encoder()
        generators = {name: open_model() for name, open_model in openers.items()}
        digests = [one.digest for one in (traits, *generators.values()) if one is not None]
        if keep:
            describing = None if captioner is None else captioner()
            models = ModelSource.kept(generators, describing, traits)
            digests[:0] = [] if describing is None else [describing.digest]
        else:
            models = ModelSource.loading(openers, captioner, encoder, traits)
            if spec.captioner is not None:
                digests.insert(0, runtime.bundle(lineup.bundle(spec.captioner)).digest)
        reduced = runtime.place[0].reduced_precision
        digests += [reduced] if reduced else []
        digests += [repr(one) for one in spec.resynthesising if one.bundle is None]
        results = open_cache(reduced) if cache else None
        asked = [
            AskedCandidate(one.name, one.command, one.timeout_s, lineup.folder, open_stored())
            for one in spec.candidates
            if one.command is not None
        ]
        resynthesizer = Resynthesizer(
            models, fingerprinter=fingerprinter, cache=results, asked=asked
        )
        families = {name: generator.vae_family for name, generator in generators.items()}
        return ResynthesisModels(resynthesizer, families, tuple(digests), stack.pop_all(), runtime)
