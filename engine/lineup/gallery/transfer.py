"""Bringing the sources of another gallery, a folder or an archive, into a gallery folder."""

from __future__ import annotations

from pathlib import Path

from lineup.gallery.archive import gallery_from_archive
from lineup.gallery.gallery import Gallery, SupportSet
from lineup.gallery.store import GalleryStore


def gallery_from_path(path: Path) -> Gallery:
    """Read a gallery folder or an archive.

    Raises:
        GalleryError: It is neither, or it is damaged.
    """
    return GalleryStore(path).read() if path.is_dir() else gallery_from_archive(path)


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


def _without_images_of(base: Gallery, gallery: Gallery) -> Gallery:
    rests = (
        _without_ids(support, base.sources[name].ids if name in base.sources else ())
        for name, support in gallery.sources.items()
    )
    sources = {rest.name: rest for rest in rests if rest is not None}
    return Gallery(gallery.fingerprint_digest, sources, gallery.fingerprint_name)


def _without_ids(support: SupportSet, ids: tuple[str, ...]) -> SupportSet | None:
    known = set(ids)
    rows = [row for row, image_id in enumerate(support.ids) if image_id not in known]
    if not rows:
        return None
    rest_ids = tuple(support.ids[row] for row in rows)
    return SupportSet(
        support.name, support.role, support.fingerprints[rows], rest_ids, support.provenance
    )
