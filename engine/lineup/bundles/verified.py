"""Hashes of large files that were computed before and hold until the file is touched.

Reading the weights of three large generators to hash them takes longer than drawing with them, and
pushes what is mapped out of memory. A file counts as untouched while its inode, size, time of
change and time of the inode's change stay the same. The last one (on Windows, where it means
something else, the one before it) is set by the system alone, so what alters a file shows, whatever
it does to the other times. `lineup models verify` reads everything all the same.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from lineup.files import sha256_from_file, write_atomic

LARGE_BYTES = 2**20
"""Smaller files are hashed every time; that takes milliseconds."""

SETTLED_NS = 2 * 10**9
"""A file that changed less than this ago may change again within one tick of the system's clock."""

State: TypeAlias = list[int]
Entries: TypeAlias = dict[str, tuple[State, str]]


class VerifiedFiles:
    """The hashes on record in one file: read when a `with` block begins, written when it ends.

    A damaged or missing record costs time, nothing else.

    Args:
        record: A JSON file, made when the first large file was hashed.
    """

    def __init__(self, record: Path) -> None:
        self._record = record
        self._known: Entries = {}
        self._new: Entries = {}

    def __enter__(self) -> VerifiedFiles:
        self._known, self._new = self._read(), {}
        return self

    def __exit__(self, *_: object) -> None:
        if not self._new:
            return
        # Two processes that write at a time lose each other's lines, and hash once more.
        known = {name: one for name, one in self._read().items() if Path(name).exists()}
        with suppress(OSError):  # a home that cannot be written to costs time only
            write_atomic(self._record, json.dumps(known | self._new).encode())

    def sha256(self, path: Path) -> str:
        """Return the hex SHA-256 of a file, read only if it is small, new or was touched.

        Args:
            path: Absolute.

        Raises:
            OSError: The file cannot be read.
        """
        if path.stat().st_size < LARGE_BYTES:
            return sha256_from_file(path)
        state = _state(path)
        known = self._known.get(str(path))
        if known is not None and known[0] == state:
            return known[1]
        found = sha256_from_file(path)
        if _state(path) == state and time.time_ns() - max(state[-2:]) > SETTLED_NS:
            self._new[str(path)] = (state, found)
        return found

    def _read(self) -> Entries:
        try:
            content = json.loads(self._record.read_bytes())
            return {str(name): (list(entry[0]), str(entry[1])) for name, entry in content.items()}
        except (OSError, ValueError, TypeError, AttributeError, LookupError):
            return {}


def _state(path: Path) -> State:
    found = path.stat()
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
