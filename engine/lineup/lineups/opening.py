"""Opening the models of a lineup that redraw queries."""

from __future__ import annotations

from contextlib import ExitStack

from lineup.captioning.captioner import open_captioner
from lineup.embedding.encoder import open_encoder
from lineup.evidence.cache import open_cache
from lineup.evidence.resynthesis import Resynthesizer
from lineup.evidence.resynthesis_models import FingerprintModel
from lineup.lineups.models import ResynthesisModels
from lineup.lineups.store import Lineup
from lineup.synthesis.generator import open_generator


def open_resynthesis_models(
    lineup: Lineup,
    fingerprinter: FingerprintModel | None,
    *,
    device: str = "auto",
    threads: int = 0,
    cache: bool = True,
) -> ResynthesisModels:
    """Verify and load captioner, encoder and generators of a lineup.

    Args:
        lineup: The lineup.
        fingerprinter: Owned by the caller.
        device: See `lineup.backends.device.device_from_text`.
        threads: Threads on the CPU; 0 takes every core.
        cache: Whether resyntheses and their features are kept on disk.

    Raises:
        BundleError: A bundle is absent, altered or of another kind.
        DeviceUnavailableError: The device was asked for and is not usable.
    """
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
            families={name: generator.vae_family for name, generator in generators.items()},
            digests=tuple(model.digest for model in models if model is not None),
            owned=stack.pop_all(),
        )
