"""Opening the models of a lineup that redraw queries."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial

from lineup.backends.opening import options_for_device
from lineup.bundles.store import BundleStore
from lineup.evidence.cache import open_cache
from lineup.evidence.resynthesis import Resynthesizer
from lineup.evidence.resynthesis_models import FingerprintModel
from lineup.lineups.loading import LoadingModels
from lineup.lineups.models import ResynthesisModels
from lineup.lineups.store import Lineup
from lineup.models.captioner import Captioner, open_captioner
from lineup.models.encoder import ImageEncoder, open_encoder
from lineup.models.generator import ImageGenerator, open_generator
from lineup.paths import home_dir


def open_resynthesis_models(
    lineup: Lineup,
    fingerprinter: FingerprintModel | None,
    *,
    device: str = "auto",
    threads: int = 0,
    cache: bool = True,
    keep: bool = True,
) -> ResynthesisModels:
    """Verify the captioner, encoder and generators of a lineup, and load them.

    Args:
        lineup: The lineup.
        fingerprinter: Owned by the caller.
        device: See `lineup.backends.device.device_from_text`.
        threads: Threads on the CPU; 0 takes every core.
        cache: Whether resyntheses and their features are kept on disk.
        keep: Whether models stay loaded; otherwise each is loaded when it has work, for all
            queries of a call, and released before the next one is.

    Raises:
        BundleError: A bundle is absent, altered or of another kind.
        DeviceUnavailableError: The device was asked for and is not usable.
    """
    if keep:
        return _kept_models(lineup, fingerprinter, device, threads, cache=cache)
    return _loading_models(lineup, fingerprinter, device, threads, cache=cache)


def _kept_models(
    lineup: Lineup,
    fingerprinter: FingerprintModel | None,
    device: str,
    threads: int,
    *,
    cache: bool,
) -> ResynthesisModels:
    spec = lineup.spec
    with ExitStack() as stack:
        captioner = encoder = None
        if spec.captioner is not None:
            captioner = stack.enter_context(
                open_captioner(lineup.bundle(spec.captioner), device=device, threads=threads)
            )
        if spec.encoder is not None:
            encoder = stack.enter_context(
                open_encoder(lineup.bundle(spec.encoder), device=device, threads=threads)
            )
        generators = {
            candidate.name: stack.enter_context(
                open_generator(lineup.bundle(candidate.bundle), device=device, threads=threads)
            )
            for candidate in spec.candidates
            if candidate.bundle is not None
        }
        models = (captioner, encoder, *generators.values())
        return ResynthesisModels(
            Resynthesizer(
                generators,
                captioner=captioner,
                encoder=encoder,
                fingerprinter=fingerprinter,
                cache=open_cache() if cache else None,
            ),
            families=_families(generators),
            digests=tuple(model.digest for model in models if model is not None),
            owned=stack.pop_all(),
        )


def _loading_models(
    lineup: Lineup,
    fingerprinter: FingerprintModel | None,
    device: str,
    threads: int,
    *,
    cache: bool,
) -> ResynthesisModels:
    spec, store = lineup.spec, BundleStore(home_dir())
    resolved, options = options_for_device(device, threads)
    captioner = encoder = traits = None
    digests = []
    if spec.captioner is not None:
        bundle = store.open(lineup.bundle(spec.captioner))
        captioner = partial(Captioner, bundle, resolved, options)
        digests.append(bundle.digest)
    if spec.encoder is not None:
        bundle = store.open(lineup.bundle(spec.encoder))
        encoder = partial(ImageEncoder, bundle, resolved, options)
        traits = encoder()  # loads no graph until features are asked for
        digests.append(bundle.digest)
    openers = {
        candidate.name: partial(
            ImageGenerator,
            store.open(lineup.bundle(candidate.bundle)),
            resolved,
            options,
            keep_graphs=False,
        )
        for candidate in spec.candidates
        if candidate.bundle is not None
    }
    generators = {name: open_model() for name, open_model in openers.items()}
    return ResynthesisModels(
        Resynthesizer(
            LoadingModels(openers, captioner=captioner, encoder=encoder, encoder_traits=traits),
            fingerprinter=fingerprinter,
            cache=open_cache() if cache else None,
        ),
        families=_families(generators),
        digests=(*digests, *(one.digest for one in generators.values())),
    )


def _families(generators: Mapping[str, ImageGenerator]) -> dict[str, str]:
    return {name: generator.vae_family for name, generator in generators.items()}
