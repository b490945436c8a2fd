"""Find image files: named files, folders, glob patterns and lists of paths."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".tif", ".tiff"}
    | {".bmp", ".dib", ".gif", ".avif", ".avifs", ".heic", ".heics", ".heif", ".heifs", ".hif"}
)
"""Suffixes, in lower case, of the files that a folder is searched for."""


def find_images(paths: Iterable[str | Path]) -> Iterator[Path]:
    """Yield the images that some paths stand for, lazily and in the same order every time.

    A file is yielded whatever its name. A folder is searched recursively, in the order of names,
    for files with an image suffix; hidden entries are skipped, links are followed, and each real
    folder is visited once. A pattern with `*`, `?`, `[...]` or `**` stands for what it matches,
    unless a file of exactly that name exists. What does not exist or may not be listed is yielded
    as it is, so that whoever reads it can report it.

    Args:
        paths: Files, folders and patterns.

    Yields:
        Paths of files, as they were named or joined from the folder that was named.
    """
    for path in paths:
        name = os.fspath(path)
        if _exists(name) or not glob.has_magic(name):
            yield from _images_from_path(name)
        else:
            matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - keeps "./" and order
            for match in matches or [name]:
                yield from _images_from_path(match)


def paths_from_lines(stream: IO[str] | IO[bytes]) -> Iterator[Path]:
    """Yield the paths of a list, such as `find` prints it.

    Args:
        stream: One path a line; or, when there is a zero byte in it (`find -print0`), paths
            separated by zero bytes. Blank entries are skipped. A binary stream also carries names
            that are not valid text.

    Yields:
        Paths in the order of the list.
    """
    text = os.fsdecode(stream.read())
    entries = text.split("\0") if "\0" in text else (line.rstrip("\r") for line in text.split("\n"))
    for entry in entries:
        if entry.strip():
            yield Path(entry)


def _exists(name: str) -> bool:
    try:
        return os.path.lexists(name)
    except ValueError:  # a zero byte in the name
        return False


def _images_from_path(name: str) -> Iterator[Path]:
    if not _is_folder(name):
        yield Path(name)
        return
    seen: set[tuple[int, int]] = set()
    # A stack in place of recursion: folders may be nested deeper than Python's stack.
    pending = [name]
    while pending:
        current = pending.pop()
        if not _is_folder(current):
            yield Path(current)
            continue
        try:
            entries = _entries(current, seen)
        except OSError:
            yield Path(current)
            continue
        pending.extend(reversed(entries))


def _entries(folder: str, seen: set[tuple[int, int]]) -> list[str]:
    """Return the folders and images inside a folder, by name; none on a second visit.

    Raises:
        OSError: The folder may not be listed.
    """
    status = os.stat(folder)  # noqa: PTH116 - no Path per entry of large folders
    identity = (status.st_dev, status.st_ino)
    if identity in seen:
        return []
    seen.add(identity)
    with os.scandir(folder) as listing:
        names = sorted(entry.name for entry in listing if _is_wanted(entry))
    return [os.path.join(folder, name) for name in names]  # noqa: PTH118 - no Path per entry


def _is_wanted(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith("."):
        return False
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - no Path per entry
    return suffix in IMAGE_SUFFIXES or _is_folder(entry.path)


def _is_folder(name: str) -> bool:
    try:
        return os.path.isdir(name)  # noqa: PTH112 - no Path per entry
    except ValueError:  # a zero byte in the name
        return False
