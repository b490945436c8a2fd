"""A ready-made encoder from its source to the store, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from lineup.bundles.bundle import Bundle
from lineup.bundles.store import BundleStore
from lineup_export.ready.description import DESCRIPTION, ReadyModel, open_description
from lineup_export.ready.fetch import check_file, fetched_file
from lineup_export.ready.tower import bundle_from_tower


def installed_by_name(
    store: BundleStore, name: str, file: Path | None, *, overwrite: bool = False
) -> Bundle:
    """Install an encoder that lineup knows.

    Args:
        store: Where to.
        name: As `ready_names` lists it.
        file: The model's file; None fetches it.
        overwrite: Replace another bundle of the same name.

    Raises:
        UsageError: There is no such model, or another bundle has its name.
        BundleError: The file cannot be had, or is another.
    """
    return _installed(store, open_description(name), file, overwrite=overwrite)


def installed_by_description(
    store: BundleStore, description: Path, file: Path | None, *, overwrite: bool = False
) -> Bundle:
    """Install an encoder of the user's, described in a TOML file.

    Raises:
        BundleFormatError: The description breaks the rules, or the graph is not as described.
        BundleError: The file is another.
        UsageError: Another bundle has its name.
    """
    return _installed(store, DESCRIPTION.read(description), file, overwrite=overwrite)


def _installed(
    store: BundleStore, model: ReadyModel, file: Path | None, *, overwrite: bool
) -> Bundle:
    with TemporaryDirectory(prefix="lineup-pull-") as scratch:
        folder = Path(scratch)
        if file is None:
            file = fetched_file(model, folder)
        else:
            check_file(model, file)
        bundle = bundle_from_tower(model, file, folder / "bundle")
        return store.install(bundle.path, overwrite=overwrite)
