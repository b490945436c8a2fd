"""What a lineup consists of, and whether its bundles are there; nothing is loaded."""

from __future__ import annotations

from typing import Any

from lineup.bundles.manifest import BundleKind, Manifest
from lineup.errors import BundleError, UsageError
from lineup.fingerprint import DEFAULT_BUNDLE
from lineup.gallery.opening import source_entries
from lineup.gallery.support import SourceRole
from lineup.lineups.spec import CandidateSpec, LineupSpec, settings_from_spec
from lineup.lineups.store import Lineup
from lineup.runtime import Runtime


def record_from_lineup(lineup: Lineup) -> dict[str, Any]:
    """Describe a lineup.

    Returns:
        Keys: name, path, captioner, encoder and fingerprint {bundle, size_bytes, problem} or None,
        candidates [{name, bundle, stored, command, vae_family, size_bytes, gallery_images,
        problem}],
        gallery_sources [{name, images}] (the gallery's other generators, which can be named too),
        gallery, calibration, resynthesis {setting: value}, size_bytes of all bundles. What a
        bundle that cannot be read would say is None.

    Raises:
        GalleryError: The gallery cannot be read.
    """
    spec = lineup.spec
    images: dict[str, int] = {}
    own = [] if lineup.gallery is None else source_entries(lineup.gallery)
    for entry in (*source_entries(), *own):
        if entry.role is SourceRole.CANDIDATE:
            images[entry.name] = images.get(entry.name, 0) + entry.count
    listed = {one.name for one in spec.candidates}
    models = {
        "captioner": _model(lineup, spec.captioner),
        "encoder": _model(lineup, spec.encoder),
        "fingerprint": _model(lineup, spec.fingerprint or DEFAULT_BUNDLE),
    }
    candidates = [_candidate(lineup, one, images.get(one.name, 0)) for one in spec.candidates]
    sizes = [one["size_bytes"] for one in (*models.values(), *candidates) if one is not None]
    return {
        "name": spec.name,
        "path": None if lineup.folder is None else str(lineup.folder),
        **models,
        "candidates": candidates,
        "gallery_sources": [
            {"name": name, "images": count} for name, count in images.items() if name not in listed
        ],
        "gallery": None if lineup.gallery is None else str(lineup.gallery),
        "calibration": None if lineup.calibration is None else str(lineup.calibration),
        "resynthesis": settings_from_spec(spec),
        "size_bytes": sum(size for size in sizes if size is not None),
    }


def check_bundles(spec: LineupSpec) -> None:
    """Check that every bundle of a lineup exists and does what it is named for.

    Args:
        spec: Paths in it are absolute.

    Raises:
        BundleError: A bundle is absent or its manifest cannot be read.
        UsageError: A bundle is of another kind.
    """
    lineup, runtime = Lineup(spec), Runtime()
    named = [
        (spec.captioner, BundleKind.CAPTIONER),
        (spec.encoder, BundleKind.ENCODER),
        (spec.fingerprint, BundleKind.FINGERPRINT),
        *((candidate.bundle, BundleKind.GENERATOR) for candidate in spec.candidates),
    ]
    for reference, kind in named:
        if reference is None:
            continue
        manifest = runtime.unverified_bundle(lineup.bundle(reference)).manifest
        if manifest.kind is not kind:
            raise UsageError(
                f"{reference!r} is a bundle of kind {manifest.kind.value}, expected {kind.value}.",
                hint="`lineup models list` shows the kind of every bundle.",
            )


def _candidate(lineup: Lineup, candidate: CandidateSpec, images: int) -> dict[str, Any]:
    manifest, problem = _manifest(lineup, candidate.bundle)
    generation = None if manifest is None else manifest.generation
    return {
        "name": candidate.name,
        "bundle": candidate.bundle,
        "stored": candidate.stored,
        "command": candidate.command,
        "vae_family": None if generation is None else generation.vae_family,
        "size_bytes": None if manifest is None else manifest.size_bytes,
        "gallery_images": images,
        "problem": problem,
    }


def _model(lineup: Lineup, reference: str | None) -> dict[str, Any] | None:
    if reference is None:
        return None
    manifest, problem = _manifest(lineup, reference)
    size_bytes = None if manifest is None else manifest.size_bytes
    return {"bundle": reference, "size_bytes": size_bytes, "problem": problem}


def _manifest(lineup: Lineup, reference: str | None) -> tuple[Manifest | None, str | None]:
    """Return a bundle's manifest, or why it cannot be read; neither for no bundle."""
    if reference is None:
        return None, None
    try:
        return Runtime().unverified_bundle(lineup.bundle(reference)).manifest, None
    except BundleError as error:
        return None, error.message
