"""Checks of a lineup that is to be made: are its bundles there, and of the right kind?"""

from __future__ import annotations

from lineup.bundles.bundle import read_bundle
from lineup.bundles.manifest import BundleKind
from lineup.bundles.store import BundleStore
from lineup.errors import UsageError
from lineup.lineups.spec import LineupSpec
from lineup.lineups.store import Lineup
from lineup.paths import home_dir


def check_bundles(spec: LineupSpec) -> None:
    """Check that every bundle of a lineup exists and does what it is named for.

    Args:
        spec: Paths in it are absolute.

    Raises:
        BundleError: A bundle is absent or its manifest cannot be read.
        UsageError: A bundle is of another kind.
    """
    lineup, store = Lineup(spec), BundleStore(home_dir())
    for reference, kind in _references(spec):
        _, manifest = read_bundle(store.path(lineup.bundle(reference)))
        if manifest.kind is not kind:
            raise UsageError(
                f"{reference!r} is a bundle of kind {manifest.kind.value}, expected {kind.value}.",
                hint="`lineup models list` shows the kind of every bundle.",
            )


def _references(spec: LineupSpec) -> list[tuple[str, BundleKind]]:
    named = [
        (spec.captioner, BundleKind.CAPTIONER),
        (spec.encoder, BundleKind.ENCODER),
        (spec.fingerprint, BundleKind.FINGERPRINT),
        *((candidate.bundle, BundleKind.GENERATOR) for candidate in spec.candidates),
    ]
    return [(reference, kind) for reference, kind in named if reference is not None]
