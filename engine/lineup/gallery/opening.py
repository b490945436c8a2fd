"""The galleries of this machine: the shipped one, the user's own, and folders that are named."""

from __future__ import annotations

from pathlib import Path

from lineup.errors import GalleryError
from lineup.gallery.gallery import Gallery, fingerprint_mismatch
from lineup.gallery.store import GalleryStore
from lineup.paths import home_dir, shipped_dir


def shipped_store() -> GalleryStore:
    """Return the store of the gallery inside the package; never change it."""
    return GalleryStore(shipped_dir() / "gallery")


def shipped_gallery() -> Gallery | None:
    """Return the gallery inside the package; None in a build without one.

    Raises:
        GalleryError: A file of it is missing, altered or malformed.
    """
    return _read_if_filled(shipped_store())


def user_store(path: Path | None = None) -> GalleryStore:
    """Return the store that enrolments go to: `path`, or the user's own gallery."""
    return GalleryStore(path if path is not None else home_dir() / "gallery")


def open_gallery(path: Path | None = None, *, fingerprint_digest: str | None = None) -> Gallery:
    """Load a gallery.

    Args:
        path: A gallery folder; None merges the shipped gallery with the user's own.
        fingerprint_digest: Identity of the bundle in use; the gallery must have been made with it.

    Raises:
        GalleryError: There is no gallery, a file of it is missing, altered or malformed, or it
            was made with another fingerprint.
    """
    gallery = user_store(path).read() if path is not None else _default_gallery()
    if fingerprint_digest is not None and gallery.fingerprint_digest != fingerprint_digest:
        where = "the gallery" if path is None else f"the gallery {path}"
        raise fingerprint_mismatch(where, gallery.fingerprint_digest, fingerprint_digest)
    return gallery


def joined_gallery(path: Path, *, fingerprint_digest: str) -> Gallery:
    """Load a lineup's gallery together with the shipped one and the user's own.

    Where those were made with another fingerprint they cannot be compared, and stay out.

    Args:
        path: The lineup's gallery folder.
        fingerprint_digest: Identity of the bundle in use.

    Raises:
        GalleryError: A gallery is missing, altered, or not made with this fingerprint.
    """
    gallery = open_gallery(path, fingerprint_digest=fingerprint_digest)
    default = _default_gallery()
    if default.fingerprint_digest != fingerprint_digest:
        return gallery
    return default.merged_with(gallery)


def _default_gallery() -> Gallery:
    shipped, user = shipped_gallery(), _read_if_filled(user_store())
    if shipped is not None and user is not None:
        _check_same_fingerprint(shipped, user)
        return shipped.merged_with(user)
    gallery = shipped or user
    if gallery is None:
        raise GalleryError(
            "there is no gallery yet", hint="Add a source with lineup enroll NAME PATHS..."
        )
    return gallery


def _check_same_fingerprint(shipped: Gallery, user: Gallery) -> None:
    if shipped.fingerprint_digest == user.fingerprint_digest:
        return
    raise GalleryError(
        f"your gallery {user_store().path} was made with the fingerprint "
        f"{user.fingerprint_digest[:12]}, the shipped one with {shipped.fingerprint_digest[:12]}",
        hint="Fingerprints of different bundles cannot be compared: move that folder away and "
        "enrol the images again, or use it alone with --gallery and its own --fingerprint.",
    )


def _read_if_filled(store: GalleryStore) -> Gallery | None:
    manifest = store.manifest()
    return store.read() if manifest is not None and manifest.sources else None
