"""Loading a lineup: its fingerprints and gallery, and what redraws queries."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from lineup.attribution.engine import LineupEngine
from lineup.calibration.calibration import CALIBRATION
from lineup.engine import Engine, open_engine
from lineup.evidence.provided import open_provided
from lineup.evidence.resynthesis import SIGNALS, Resynthesizer
from lineup.lineups.models import ResynthesisModels
from lineup.lineups.store import Lineup, open_lineup


def open_lineup_engine(
    lineup: str | Path | Lineup | None = None,
    *,
    evidence: Sequence[str] | None = None,
    device: str = "auto",
    threads: int = 0,
    fingerprint: str | Path | None = None,
    gallery: Path | None = None,
    cache: bool = True,
    calibrated: bool = True,
    keep_models: bool = True,
) -> LineupEngine:
    """Load a lineup.

    Args:
        lineup: Name, path or opened lineup; None takes the default (`open_lineup`).
        evidence: What will be asked for, some of `EVIDENCE_NAMES`; None is everything. What only
            resynthesis needs is not loaded when it is not among them.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `tensorrt`.
        threads: Threads on the CPU; 0 takes every core.
        fingerprint: Bundle name or folder; None takes the lineup's.
        gallery: Gallery folder; None takes the lineup's.
        cache: Whether resyntheses and their features are kept on disk.
        calibrated: Whether the lineup's calibration is read; its file need not exist otherwise.
        keep_models: Whether what redraws queries stays loaded; otherwise each model is loaded for
            all queries of a call and released before the next one is, which takes least memory.

    Raises:
        LineupError: The lineup, a bundle, the gallery or the device cannot be used.
    """
    found = lineup if isinstance(lineup, Lineup) else open_lineup(lineup)
    spec = found.spec
    if fingerprint is None and spec.fingerprint is not None:
        fingerprint = found.bundle(spec.fingerprint)
    with ExitStack() as stack:
        engine = stack.enter_context(
            open_engine(
                device=device,
                threads=threads,
                fingerprint=fingerprint,
                gallery=gallery,
                joining=found.gallery,
            )
        )
        models = stack.enter_context(
            _models(
                found,
                engine,
                evidence,
                device=device,
                threads=threads,
                cache=cache,
                keep=keep_models,
            )
        )
        calibration = None
        if calibrated and found.calibration is not None:
            calibration = CALIBRATION.read(found.calibration)
        stack.pop_all()
    return LineupEngine(
        engine, found, models=models, calibration=calibration, provided=open_provided()
    )


def _models(
    lineup: Lineup,
    engine: Engine,
    evidence: Sequence[str] | None,
    *,
    device: str,
    threads: int,
    cache: bool,
    keep: bool,
) -> ResynthesisModels:
    """Return what redraws queries, or compares resyntheses made elsewhere at least."""
    if evidence is not None and not set(evidence) & set(SIGNALS):
        return ResynthesisModels(Resynthesizer({}))
    if lineup.spec.encoder is None:
        return ResynthesisModels(Resynthesizer({}, fingerprinter=engine.extractor))
    # Here, because nobody who attributes by fingerprints alone should wait for it.
    from lineup.lineups.opening import open_resynthesis_models  # noqa: PLC0415

    return open_resynthesis_models(
        lineup, engine.extractor, device=device, threads=threads, cache=cache, keep=keep
    )
