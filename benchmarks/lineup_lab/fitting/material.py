"""What a classifier is fitted on: classes of a gallery, and fingerprints of "none of them"."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from lineup.errors import ClassifierError, UsageError
from lineup.evidence.batch import (
    DEFAULT_BATCH,
    FailedFile,
    FingerprintedFile,
    TileFingerprinter,
    fingerprints_from_paths,
)
from lineup.gallery.gallery import Gallery, fingerprint_mismatch
from lineup.gallery.store import MANIFEST
from lineup.gallery.transfer import gallery_from_path
from lineup.imaging.find import find_images
from lineup.paths import shipped_reject_dir
from lineup.results import REAL
from lineup.types import Float32Array


def classes_from_gallery(gallery: Gallery) -> dict[str, Float32Array]:
    """Return the fingerprints per class: each candidate, and all photographs as the class `real`.

    Returns:
        Shape (N, D), float32, per class; candidates sorted by name, then `real` if there is one.
    """
    classes = {support.name: support.fingerprints for support in gallery.candidates}
    if gallery.reals:
        classes[REAL] = np.concatenate([support.fingerprints for support in gallery.reals])
    return classes


def holds_fingerprints(path: Path) -> bool:
    """Return whether a path is a gallery (folder or archive) and not a folder of images.

    Raises:
        UsageError: There is nothing at the path.
    """
    if not path.exists():
        raise UsageError(
            f"{path} does not exist.",
            hint="Give a gallery folder, an archive of one, or a folder of images.",
        )
    return path.is_file() or (path / MANIFEST).is_file()


def reject_from_gallery(path: Path, *, fingerprint_digest: str) -> Float32Array:
    """Return every fingerprint of a gallery folder or archive, shape (R, D), whatever its source.

    Raises:
        GalleryError: It cannot be read, or was made with another fingerprint bundle.
        ClassifierError: It is empty.
    """
    gallery = gallery_from_path(path)
    if gallery.fingerprint_digest != fingerprint_digest:
        raise fingerprint_mismatch(str(path), gallery.fingerprint_digest, fingerprint_digest)
    sets = [support.fingerprints for support in gallery.sources.values()]
    return _checked_reject(sets, path)


def shipped_reject(*, fingerprint_digest: str) -> Float32Array | None:
    """Return the shipped fingerprints of simulated generators' reconstructions, shape (R, D).

    None where they were made with another fingerprint bundle than the one in use.
    """
    path = shipped_reject_dir()
    gallery = gallery_from_path(path)
    if gallery.fingerprint_digest != fingerprint_digest:
        return None
    return _checked_reject([one.fingerprints for one in gallery.sources.values()], path)


def reject_from_images(
    path: Path,
    extractor: TileFingerprinter,
    *,
    batch: int = DEFAULT_BATCH,
    on_file: Callable[[FingerprintedFile | FailedFile], None] = lambda _: None,
) -> Float32Array:
    """Return the fingerprint of every readable image below a folder, shape (R, D).

    Args:
        path: The folder.
        extractor: Turns images into fingerprints.
        batch: Images per call of the model.
        on_file: Called after each file, in order.

    Raises:
        ClassifierError: There is no readable image.
        BackendError: The model failed.
    """
    rows = []
    for file in fingerprints_from_paths(find_images([path]), extractor, batch=batch):
        if isinstance(file, FingerprintedFile):
            rows.append(file.fingerprint[None])
        on_file(file)
    return _checked_reject(rows, path)


def _checked_reject(sets: list[Float32Array], path: Path) -> Float32Array:
    if not sets:
        raise ClassifierError(
            f"{path} holds no fingerprint or readable image for the reject class",
            hint="Give reconstructions of photographs, as a gallery or a folder of images.",
        )
    return np.concatenate(sets)
