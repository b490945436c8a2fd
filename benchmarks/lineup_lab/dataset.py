"""Labelled images: one folder per source, one fingerprint per distinct image, and their split.

A part of each source's images, drawn from a seed, is its support; the others are queries.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lineup.errors import ImageError, UsageError
from lineup.finding import find_images
from lineup.gallery.support import unusable_rows
from lineup.stream import DEFAULT_STREAM, StreamedImage, StreamOptions, TileCutter, rows_from_paths
from lineup.types import Float32Array, RgbTiles

MIN_SOURCES = 2
MIN_IMAGES = 2
"""Per source: one for the support, one query."""

UNUSABLE = "The model gave no usable fingerprint for this image."
LAYOUT_HINT = "Expected layout: DIR/<source>/*.png, one folder of images per source."


_Fingerprinted = tuple[Path, Float32Array]


class TileFingerprinter(TileCutter, Protocol):
    """What is needed of a fingerprint extractor (`lineup.fingerprint`)."""

    def fingerprints_from_tiles(self, tiles: Sequence[RgbTiles]) -> Float32Array:
        """Return one L2-normalised row per image, shape (images, dimension)."""
        ...


@dataclass(frozen=True, slots=True)
class SourceFolder:
    """A folder of images from one source; the folder's name is the source's name."""

    name: str
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSource:
    """The distinct, readable images of one source.

    Attributes:
        name: Name of the source.
        ids: Hex SHA-256 of each image's file; distinct within and across sources.
        fingerprints: Shape (N, D), float32, rows L2-normalised, in the order of `ids`.
        paths: A file of each image, in the order of `ids`; empty when they are not known.
        failures: Files that could not be read.
        duplicate_count: Files dropped because the same bytes lie in this folder already.
        ambiguous_count: Images dropped because the same bytes lie in another source's folder
            too, so that the true source is not known.
    """

    name: str
    ids: tuple[str, ...]
    fingerprints: Float32Array
    paths: tuple[Path, ...] = ()
    failures: tuple[StreamedImage, ...] = ()
    duplicate_count: int = 0
    ambiguous_count: int = 0


Support = float | int
"""Part of each source's images: a float is a share, 0..1 exclusive; an int a number of them."""


@dataclass(frozen=True, slots=True)
class Split:
    """Rows of one source, disjoint by content.

    Attributes:
        support: Row numbers of the support, shape (S,).
        queries: Row numbers of the queries, shape (Q,).
    """

    support: npt.NDArray[np.intp]
    queries: npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class ProtocolOptions:
    """What the protocols on fingerprints share.

    Attributes:
        support: Size of each source's support.
        seed: Seed of the splits and of the bootstrap.
        real: Sources of photographs.
        resamples: Bootstrap resamples of the queries.
    """

    support: Support = 0.5
    seed: int = 0
    real: tuple[str, ...] = ()
    resamples: int = 1000


def check_names(option: str, chosen: Iterable[str], names: Sequence[str]) -> None:
    """Check that an option names sources.

    Raises:
        UsageError: One is not among `names`.
    """
    for name in chosen:
        if name not in names:
            raise UsageError(
                f"{option} {name!r} is not among the sources.",
                hint=f"Sources: {', '.join(names)}.",
            )


def source_folders_from_dir(root: Path) -> tuple[SourceFolder, ...]:
    """Find the sources below `root`, sorted by name; hidden folders and loose files are left out.

    Raises:
        UsageError: `root` is no folder, holds fewer than two folders, or one of them has fewer
            than two image files.
    """
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder.", hint=LAYOUT_HINT)
    folders = sorted(
        entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )
    if len(folders) < MIN_SOURCES:
        found = ", ".join(folder.name for folder in folders) or "none"
        raise UsageError(
            f"{root} holds {len(folders)} source folder(s) ({found}), but at least "
            f"{MIN_SOURCES} are needed.",
            hint=LAYOUT_HINT,
        )
    sources = tuple(SourceFolder(folder.name, tuple(find_images([folder]))) for folder in folders)
    for source, folder in zip(sources, folders, strict=True):
        _check_enough(len(source.paths), f"{folder} holds {len(source.paths)} image file(s)")
    return sources


def fingerprints_from_paths(
    paths: Iterable[Path],
    extractor: TileFingerprinter,
    *,
    batch: int = DEFAULT_STREAM.group_images,
) -> Iterator[tuple[StreamedImage, Float32Array | None]]:
    """Yield the fingerprint of each image, shape (D,), in order; None with an image that failed.

    Raises:
        BackendError: The model failed.
    """
    reading = StreamOptions(group_images=batch)
    for image, row in rows_from_paths(paths, extractor, extractor.fingerprints_from_tiles, reading):
        if row is not None and unusable_rows(row[None]):
            yield image.failed(ImageError(UNUSABLE)), None
        else:
            yield image, row


def labelled_sources_from_folders(
    folders: Sequence[SourceFolder],
    extractor: TileFingerprinter,
    *,
    batch: int = DEFAULT_STREAM.group_images,
    on_file: Callable[[StreamedImage], None] = lambda _: None,
) -> tuple[LabelledSource, ...]:
    """Fingerprint every image of every source in one stream; `on_file` is called after each.

    Raises:
        UsageError: A source has fewer than two usable images left.
        BackendError: The model failed.
    """
    owners = [folder.name for folder in folders for _ in folder.paths]
    paths = (path for folder in folders for path in folder.paths)
    usable: dict[str, dict[str, _Fingerprinted]] = {folder.name: {} for folder in folders}
    failures: dict[str, list[StreamedImage]] = {folder.name: [] for folder in folders}
    answers = fingerprints_from_paths(paths, extractor, batch=batch)
    for name, (image, fingerprint) in zip(owners, answers, strict=True):
        if fingerprint is None or image.sha256 is None:
            failures[name].append(image)
        else:
            usable[name].setdefault(image.sha256, (image.path, fingerprint))
        on_file(image)
    seen_in = Counter(image_id for images in usable.values() for image_id in images)
    return tuple(
        _labelled_source(folder, usable[folder.name], failures[folder.name], seen_in)
        for folder in folders
    )


def support_from_text(text: str) -> Support:
    """Parse `0.5` (half of each source) or `100` (100 images of each source).

    Raises:
        UsageError: Neither a share between 0 and 1 nor a whole number from 1.
    """
    with suppress(ValueError):
        if text.strip().isdecimal() and int(text) >= 1:
            return int(text)
        if not text.strip().isdecimal() and 0.0 < float(text) < 1.0:
            return float(text)
    raise UsageError(
        f"--support {text!r} is neither a share nor a count.",
        hint="Give a share between 0 and 1 (0.5: half of each source) or a whole number "
        "(100: that many images of each source).",
    )


def checked_support_count(name: str, images: int, support: Support) -> int:
    """Return the size of a source's support.

    A share is rounded to the nearest image, half up, and leaves at least one image on either side.

    Raises:
        UsageError: No query would be left.
    """
    if isinstance(support, float):
        return min(max(int(support * images + 0.5), 1), images - 1)
    count = support
    if count >= images:
        raise UsageError(
            f"--support {count} leaves no query: source {name!r} has {images} usable image(s).",
            hint="Give a smaller count, or a share such as 0.5.",
        )
    return count


def drawn_place(seed: int, name: str) -> bytes:
    """Return what to order names by so that the draw depends on the seed and each name alone."""
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()


def split_of_source(source: LabelledSource, support: Support, seed: int) -> Split:
    """Draw support and queries of one source.

    Images are ordered by the hash of seed and content, so the draw depends on nothing else: not on
    file names, not on the other sources, not on a random generator's version.

    Raises:
        UsageError: A support count leaves no query.
    """
    images = len(source.ids)
    support_count = checked_support_count(source.name, images, support)
    keys = [drawn_place(seed, image_id) for image_id in source.ids]
    order = np.array(sorted(range(images), key=keys.__getitem__), dtype=np.intp)
    return Split(support=order[:support_count], queries=order[support_count:])


def splits_of_sources(
    sources: Sequence[LabelledSource], support: Support, seed: int
) -> dict[str, Split]:
    """Draw support and queries of every source, by name.

    Raises:
        UsageError: A support count leaves no query.
    """
    return {source.name: split_of_source(source, support, seed) for source in sources}


def _labelled_source(
    folder: SourceFolder,
    images: dict[str, _Fingerprinted],
    failures: Sequence[StreamedImage],
    seen_in: Counter[str],
) -> LabelledSource:
    ids = tuple(image_id for image_id in images if seen_in[image_id] == 1)
    _check_enough(
        len(ids),
        f"Source {folder.name!r} has {len(ids)} usable image(s) out of {len(folder.paths)} files "
        f"({len(failures)} unreadable, {len(images) - len(ids)} also in another source)",
    )
    return LabelledSource(
        name=folder.name,
        ids=ids,
        fingerprints=np.stack([images[image_id][1] for image_id in ids]),
        paths=tuple(images[image_id][0] for image_id in ids),
        failures=tuple(failures),
        duplicate_count=len(folder.paths) - len(failures) - len(images),
        ambiguous_count=len(images) - len(ids),
    )


def _check_enough(count: int, finding: str) -> None:
    if count < MIN_IMAGES:
        raise UsageError(
            f"{finding}, but at least {MIN_IMAGES} different images are needed.",
            hint="Add images to the folder, or take it out of the evaluation.",
        )
