"""The galleries of this machine, opened, merged and listed.

There is the shipped one, the user's own, and those that are named: a folder, or one file. A shipped
file of further generators, a few images each, joins them all unnamed, as what others are like.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from lineup.errors import GalleryError
from lineup.files import state_from_file
from lineup.gallery.gallery import Gallery, fingerprint_mismatch
from lineup.gallery.store import MANIFEST, GalleryStore
from lineup.gallery.support import SourceRole, SupportSet
from lineup.gallery.tensors import GALLERY_FILE, GalleryManifest, gallery_from_file
from lineup.paths import home_dir, home_entries, shipped_dir
from lineup.text import short_digest

_YEARS = re.compile(r"\b(?:19|20)\d\d(?:-\d\d)?\b")


class Origin(str, Enum):
    """Where a source is stored."""

    SHIPPED = "shipped"
    """In the package, read-only."""

    USER = "user"
    """In the user's own gallery, or in the one that was named."""


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One source of one gallery, from its manifest alone.

    Attributes:
        name: Name of the source.
        role: Generator or photographs.
        count: Number of images.
        origin: Where it is stored.
        provenance: Where the images came from.
        updated: Time of the last change, UTC, ISO 8601; None in a gallery of one file.
        fingerprint: Digest of the bundle that made the fingerprints.
    """

    name: str
    role: SourceRole
    count: int
    origin: Origin
    provenance: str
    updated: str | None
    fingerprint: str

    @property
    def years(self) -> str:
        """The years that the provenance names, e.g. "2023-24"; "" where it names none."""
        return ", ".join(dict.fromkeys(_YEARS.findall(self.provenance)))


def shipped_path() -> Path:
    """Return where the gallery inside the package is: one file."""
    return shipped_dir() / "gallery.safetensors"


def shipped_gallery() -> Gallery | None:
    """Return the gallery inside the package; None in a build without one.

    Raises:
        GalleryError: It is altered or malformed.
    """
    path = shipped_path()
    return gallery_from_file(path) if path.exists() else None


def shipped_others() -> Gallery | None:
    """Return the generators inside the package that no answer names; None in a build without them.

    Raises:
        GalleryError: They are altered or malformed.
    """
    path = shipped_dir() / "others.safetensors"
    return gallery_from_file(path) if path.exists() else None


def user_store(path: Path | None = None) -> GalleryStore:
    """Return the store that enrolments go to: the folder `path`, or the user's own gallery.

    Raises:
        GalleryError: `path` is a file.
    """
    if path is not None and path.is_file():
        raise GalleryError(
            f"{path} is a file; only a gallery folder can be changed",
            hint=f"Make a folder of it with lineup gallery import {path} --gallery DIR.",
        )
    return GalleryStore(path if path is not None else home_dir() / "gallery")


def gallery_from_path(path: Path) -> Gallery:
    """Read a gallery folder or a gallery of one file.

    Raises:
        GalleryError: It is neither, or it is damaged.
    """
    return gallery_from_file(path) if path.is_file() else GalleryStore(path).read()


def open_gallery(path: Path | None = None, *, fingerprint_digest: str | None = None) -> Gallery:
    """Load a gallery.

    Args:
        path: A gallery folder or file; None merges the shipped gallery with the user's own.
        fingerprint_digest: Identity of the bundle in use; the gallery must have been made with it.

    Raises:
        GalleryError: There is no gallery, a file of it is missing, altered or malformed, or it
            was made with another fingerprint.
    """
    gallery = gallery_from_path(path) if path is not None else _default_gallery()
    if fingerprint_digest is not None and gallery.fingerprint_digest != fingerprint_digest:
        where = "the gallery" if path is None else f"the gallery {path}"
        raise fingerprint_mismatch(where, gallery.fingerprint_digest, fingerprint_digest)
    return gallery


def known_gallery(
    path: Path | None = None, *, joining: Path | None = None, fingerprint_digest: str
) -> Gallery:
    """Load the sources that an engine knows.

    Beside them are others, which no answer names: they show what other generators' images are like.
    Without any, every generated image is most like the only source there is.

    Args:
        path: A gallery folder, whose sources then are all that is named; None merges the shipped
            gallery, the user's own and the one that joins. The shipped photographs, which queries
            are measured by, join whatever was made with the same fingerprint, and the shipped
            generators are among its others.
        joining: A lineup's gallery. Where shipped and own galleries were made with another
            fingerprint they cannot be compared with it, and stay out.
        fingerprint_digest: Identity of the bundle in use.

    Raises:
        GalleryError: A gallery is missing, altered, or not made with this fingerprint.
    """
    if path is not None:
        return with_shipped(open_gallery(path, fingerprint_digest=fingerprint_digest))
    if joining is None:
        return _with_others(open_gallery(fingerprint_digest=fingerprint_digest))
    gallery = open_gallery(joining, fingerprint_digest=fingerprint_digest)
    default = _default_gallery()
    if default.fingerprint_digest == fingerprint_digest:
        gallery = default.merged_with(gallery)
    return _with_others(gallery)


def with_shipped(gallery: Gallery) -> Gallery:
    """Return a gallery with the shipped photographs and, as others, the generators that it lacks.

    If they have the same fingerprint. A source of their name that is no photographs stays as it is.
    """
    shipped = shipped_gallery()
    if shipped is None or shipped.fingerprint_digest != gallery.fingerprint_digest:
        return _with_others(gallery)
    known = {one.name for one in gallery.candidates}
    photographs = {one.name: one for one in shipped.reals if one.name not in known}
    joined = gallery.merged_with(Gallery(shipped.fingerprint_digest, photographs))
    return _with_others(joined, shipped.candidates)


def _with_others(gallery: Gallery, generators: tuple[SupportSet, ...] = ()) -> Gallery:
    """Let generators, and those shipped for that, show what others are like.

    A source that the gallery has under the same name stays out, and so does an image that it has.
    """
    shipped = shipped_others()
    if shipped is not None and shipped.fingerprint_digest == gallery.fingerprint_digest:
        generators = (*generators, *shipped.candidates)
    known = [image for one in gallery.candidates for image in one.ids]
    rests = (one.without_images(known) for one in generators if one.name not in gallery.sources)
    return replace(gallery, others=tuple(filter(None, rests)))


def gallery_state(path: Path | None = None) -> tuple[int, int, int] | None:
    """Return what changes whenever a gallery folder or file does; None is the user's own."""
    found = path or user_store().path
    return state_from_file(found if found.is_file() else found / MANIFEST)


def import_gallery(
    store: GalleryStore, incoming: Gallery, *, base: Gallery | None = None
) -> dict[str, int]:
    """Merge a gallery into a store in one step, each image once.

    Args:
        store: Where the sources go.
        incoming: What to merge.
        base: A gallery that `store` is merged with when it is opened (the shipped one): what it
            has is not stored again, and its fingerprint and roles must agree.

    Returns:
        How many images were really added, per source of `incoming`.

    Raises:
        GalleryError: Other fingerprint, conflicting roles, or the folder cannot be written.
    """
    added = dict.fromkeys(incoming.sources, 0)
    if base is not None:
        base.merged_with(incoming)  # raises where the two disagree
        incoming = _without_images_of(base, incoming)
    return added | store.merge(incoming)


def source_entries(path: Path | None = None) -> list[SourceEntry]:
    """List the sources of a gallery folder or file; None lists the shipped and the user's own.

    Raises:
        GalleryError: `path` holds no gallery, or a manifest cannot be read.
    """
    if path is not None:
        manifest = _manifest(path)
        if manifest is None:
            raise GalleryError(
                f"{path} is not a gallery", hint="Make one with lineup enroll NAME PATHS..."
            )
        return _entries(Origin.USER, manifest)
    shipped = _manifest(shipped_path())
    return _entries(Origin.SHIPPED, shipped) + _entries(Origin.USER, _own_manifest(user_store()))


def _default_gallery() -> Gallery:
    shipped, store = shipped_gallery(), user_store()
    manifest = _own_manifest(store)
    user = store.read() if manifest is not None and manifest.sources else None
    if shipped is not None and user is not None:
        if shipped.fingerprint_digest != user.fingerprint_digest:
            raise GalleryError(
                f"your gallery {store.path} was made with the fingerprint "
                f"{short_digest(user.fingerprint_digest)}, the shipped one with "
                f"{short_digest(shipped.fingerprint_digest)}",
                hint="Fingerprints of different bundles cannot be compared: move that folder away "
                "and enrol the images again, or use it alone with --gallery and its own "
                "--fingerprint.",
            )
        return shipped.merged_with(user)
    gallery = shipped or user
    if gallery is None:
        raise GalleryError(
            "there is no gallery yet", hint="Add a source with lineup enroll NAME PATHS..."
        )
    return gallery


def _own_manifest(store: GalleryStore) -> GalleryManifest | None:
    """Return the manifest of the user's own gallery; None where there is none that can be read."""
    return store.manifest() if home_entries(store.path) else None


def _without_images_of(base: Gallery, gallery: Gallery) -> Gallery:
    rests = (
        support.without_images(base.sources[name].ids if name in base.sources else ())
        for name, support in gallery.sources.items()
    )
    sources = {rest.name: rest for rest in rests if rest is not None}
    return Gallery(gallery.fingerprint_digest, sources, gallery.fingerprint_name)


def _manifest(path: Path) -> GalleryManifest | None:
    if path.is_file():
        return GALLERY_FILE.read(path, with_tensors=False)[0]
    return user_store(path).manifest()


def _entries(origin: Origin, manifest: GalleryManifest | None) -> list[SourceEntry]:
    if manifest is None:
        return []
    return [
        SourceEntry(
            name=name,
            role=record.role,
            count=record.count,
            origin=origin,
            provenance=record.provenance,
            updated=record.updated,
            fingerprint=manifest.fingerprint.digest,
        )
        for name, record in manifest.sources.items()
    ]
