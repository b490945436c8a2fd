"""The images that the command line names: paths, folders, globs, lists, standard input."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, BinaryIO

from lineup.errors import UsageError
from lineup.imaging.find import find_images, paths_from_lines

STDIN = "-"
READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class ScanInputs:
    """What to scan, as it was named.

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
