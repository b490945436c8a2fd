"""Find image files: named files, folders, glob patterns and lists of paths."""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lineup.errors import UsageError
from lineup.files import is_same_file
from lineup.path_list import paths_from_list

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".tif", ".tiff"}
    | {".bmp", ".dib", ".gif", ".avif", ".avifs", ".heic", ".heics", ".heif", ".heifs", ".hif"}
)
"""Suffixes, in lower case, of the files that a folder is searched for."""

STDIN = "-"


def find_images(paths: Iterable[str | Path]) -> Iterator[Path]:
    """Yield the images that some paths stand for, lazily and in the same order every time.

    A file is yielded whatever its name. A folder is searched recursively, in the order of names,
    for files with an image suffix; hidden entries are skipped, links are followed, and each real
    folder is visited once. Text with `*`, `?` or `**` is a pattern, in which `[...]` has a meaning
    too, and stands for what it matches, unless a file of exactly that name exists; folders in front
    that exist are taken by their name. `[...]` alone makes no pattern: `image[1].png` that is gone
    must not become another file. What does not exist or may not be listed is yielded as it is, so
    that whoever reads it can report it.

    Args:
        paths: Files, folders and patterns; a `Path` is never a pattern.

    Yields:
        Paths of files, as they were named or joined from the folder that was named.

    Raises:
        UsageError: A name is empty.
    """
    for path in paths:
        name = os.fspath(path)
        if not name:  # as a path it would be the folder one is in, and all below
            raise UsageError(
                "An image was named by an empty text.",
                hint="An unset variable, perhaps? The folder that you are in is '.'.",
            )
        for match in _matches(name) if isinstance(path, str) else [name]:
            yield from _images_from_path(match)


def check_output(output: Path | None, inputs: Iterable[str | Path]) -> None:
    """Refuse to write over an image that is read, whatever it is called and through whatever link.

    Args:
        output: The file to be written, if any; one that does not exist yet is no input.
        inputs: See `find_images`.

    Raises:
        UsageError: The output is one of them.
    """
    if output is None or not output.exists():
        return
    for path in find_images(inputs):
        if is_same_file(path, output):
            raise UsageError(
                f"{output} is an input as well: it would be lost.",
                hint="Give the output another name.",
            )


def check_free(folder: Path, names: Iterable[str]) -> None:
    """Refuse to replace files of a folder.

    Raises:
        UsageError: One exists; names it.
    """
    taken = next((name for name in names if os.path.lexists(folder / name)), None)
    if taken is not None:
        raise UsageError(
            f"{folder / taken} exists already.",
            hint="Choose another folder, or pass --overwrite.",
        )


def _matches(name: str) -> list[str]:
    """Return what a name on a command line stands for, in order; at least itself."""
    if _exists(name) or not ("*" in name or "?" in name):
        return [name]
    folder = name
    while folder and not _exists(folder):
        folder = os.path.dirname(folder)  # noqa: PTH120 - as text
    pattern = glob.escape(folder) + name[len(folder) :]
    return sorted(glob.glob(pattern, recursive=True)) or [name]  # noqa: PTH207 - as above


def _exists(name: str) -> bool:
    try:
        return os.path.lexists(name)
    except ValueError:  # a zero byte in the name
        return False


def _images_from_path(name: str) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    # A stack in place of recursion: folders may be nested deeper than Python's stack.
    pending = [name]
    while pending:
        current = pending.pop()
        if not _is_folder(current):
            yield Path(current)
            continue
        try:
            pending += reversed(_entries(current, seen))
        except OSError:
            yield Path(current)


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
    try:
        # Of the entry, not of its path: that may be too long to be asked about.
        return suffix in IMAGE_SUFFIXES or entry.is_dir()
    except OSError as error:  # a link to what may not be looked at; whoever reads it tells
        return error.errno != errno.ELOOP


def _is_folder(name: str) -> bool:
    try:
        return os.path.isdir(name)  # noqa: PTH112 - no Path per entry
    except ValueError:  # a zero byte in the name
        return False


@dataclass(frozen=True, slots=True)
class NamedImages:
    """Images as a command line names them.

    Attributes:
        arguments: Files, folders, globs; "-" is the list on standard input.
        list_file: A file with one path per line, or "-"; comes after the arguments.
        stdin: Where "-" is read from.
        output: The file that the rows go to; it is no input, however it is named.

    Raises:
        UsageError: Nothing was named, or the list does not exist.
    """

    arguments: Sequence[str]
    list_file: str | None
    stdin: BinaryIO
    output: Path | None = None

    def __post_init__(self) -> None:
        if not self.arguments and self.list_file is None:
            raise UsageError(
                "No images were named.",
                hint="Name images or folders, or '-' for a list of paths on standard input.",
            )
        if self.list_file is not None and self.list_file != STDIN:
            self._check_list(Path(self.list_file))

    @staticmethod
    def _check_list(path: Path) -> None:
        problem = "is a folder" if path.is_dir() else None if path.exists() else "does not exist"
        if problem is not None:
            raise UsageError(
                f"The list {path} {problem}.",
                hint="--from-file expects a text file with one path per line.",
            )

    @property
    def can_list_twice(self) -> bool:
        """Whether `images` may be called again; a pipe is empty after the first time."""
        if STDIN in self.arguments or self.list_file == STDIN:
            return False
        return self.list_file is None or Path(self.list_file).is_file()

    def images(self) -> Iterator[Path]:
        """Yield the images lazily, in the order in which they were named."""
        for path in find_images(self._named()):
            if self.output is None or not is_same_file(path, self.output):
                yield path

    def _named(self) -> Iterator[str | Path]:
        for argument in self.arguments:
            if argument == STDIN:
                yield from paths_from_list(self.stdin, "on standard input")
            else:
                yield argument
        if self.list_file == STDIN:
            yield from paths_from_list(self.stdin, "on standard input")
        elif self.list_file is not None:
            with Path(self.list_file).open("rb", buffering=0) as stream:
                yield from paths_from_list(stream, self.list_file)
