"""Which images are the same image: for inputs named twice, and for rows that exist already."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

KEY_BYTES = 16


class Identities:
    """The (path, content hash) pairs of the rows that an output holds already.

    Keeps two 16-byte keys per row, so a million rows take well below 200 MB.
    """

    def __init__(self) -> None:
        self._keys: set[bytes] = set()

    def add(self, path: str, sha256: str | None) -> None:
        """Record a row; `sha256` is None when the file could not be read."""
        self._keys.add(_key(path, sha256 or ""))
        self._keys.add(_key(path, ""))

    def holds(self, path: str | Path, sha256: str | None) -> bool:
        """Return whether the image has its row.

        A file that can be read needs a row with the same content: it is scanned again after a
        change. A file that cannot be read is done when it has any row.
        """
        return _key(str(path), sha256 or "") in self._keys


def unique_paths(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield every path once, at its first position, however it is spelled.

    Spellings are compared as absolute paths without following links: two links to one file are two
    paths. Keeps 16 bytes per path.
    """
    seen: set[bytes] = set()
    for path in paths:
        absolute = os.fsencode(os.path.abspath(path))  # noqa: PTH100 - Path.absolute() keeps ".."
        key = hashlib.blake2b(absolute, digest_size=KEY_BYTES).digest()
        if key not in seen:
            seen.add(key)
            yield path


def _key(path: str, sha256: str) -> bytes:
    # A CSV names bytes that are not UTF-8 by backslash escapes, so identities do the same.
    absolute = os.path.abspath(path).encode("utf-8", "backslashreplace")  # noqa: PTH100
    return hashlib.blake2b(absolute + b"\0" + sha256.encode(), digest_size=KEY_BYTES).digest()
