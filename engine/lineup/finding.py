"""Find image files: named files, folders, glob patterns, lists of paths and standard input."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, BinaryIO

from lineup.errors import UsageError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".tif", ".tiff"}
    | {".bmp", ".dib", ".gif", ".avif", ".avifs", ".heic", ".heics", ".heif", ".heifs", ".hif"}
)
"""Suffixes, in lower case, of the files that a folder is searched for."""

STDIN = "-"
READ_BYTES = 1 << 16


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


@dataclass(frozen=True, slots=True)
class NamedImages:
    """Images as a command line names them.

    Attributes:
        arguments: Files, folders, globs; "-" is the list on standard input.
        list_file: A file with one path per line, or "-"; comes after the arguments.
        stdin: Where "-" is read from.
        output: The file that the rows go to; it is no input, even if a glob names it.

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
        if self.list_file not in (None, STDIN) and not Path(self.list_file).exists():
            raise UsageError(
                f"The list {self.list_file} does not exist.",
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
        output = None if self.output is None else os.path.abspath(self.output)  # noqa: PTH100
        for path in find_images(self._named()):
            if os.path.abspath(path) != output:  # noqa: PTH100 - links are not followed
                yield path

    def _named(self) -> Iterator[str | Path]:
        for argument in self.arguments:
            if argument == STDIN:
                yield from _paths_from_pipe(self.stdin)
            else:
                yield argument
        if self.list_file == STDIN:
            yield from _paths_from_pipe(self.stdin)
        elif self.list_file is not None:
            with Path(self.list_file).open("rb", buffering=0) as stream:
                yield from _paths_from_pipe(stream)


def _paths_from_pipe(stream: IO[bytes]) -> Iterator[Path]:
    """Yield the paths of a list as they arrive, each understood as `paths_from_lines` does.

    The unbuffered file below `sys.stdin` is read, because a thread that waits inside the buffered
    one makes the interpreter abort when the program ends.
    """
    raw = getattr(stream, "raw", stream)
    separator = b""
    rest = b""
    while chunk := raw.read(READ_BYTES):
        rest += chunk
        # As `find -print0` writes it, a list has zero bytes from its first entry on.
        separator = separator or (b"\0" if b"\0" in rest else b"\n" if b"\n" in rest else b"")
        if separator:
            *entries, rest = rest.split(separator)
            for entry in entries:
                yield from paths_from_lines(BytesIO(entry + separator))
    yield from paths_from_lines(BytesIO(rest + separator))
