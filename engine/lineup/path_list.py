"""Lists of paths, as `find`, editors and PowerShell write them."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO

from lineup.errors import UsageError

READ_BYTES = 1 << 16

_ENCODING_FROM_MARK = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_OTHER_FILES = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"II*\0", b"MM\0*", b"PK\x03\x04")
"""How images and archives begin: given in place of a list, any path might be read out of them."""


def paths_from_list(stream: IO[bytes], name: str) -> Iterator[Path]:
    """Yield the paths of a list as they arrive, in its order; blank entries are skipped.

    The unbuffered file below `sys.stdin` is read, because a thread that waits inside the buffered
    one makes the interpreter abort when the program ends.

    Args:
        stream: One path a line; or, where zero bytes are in what comes first (`find -print0`),
            paths with zero bytes between them. A byte order mark says that it is UTF-8, UTF-16 or
            UTF-32; else names are the bytes of the file system, valid text or not.
        name: What messages call the list.

    Raises:
        UsageError: It cannot be read, or is no list.
    """
    chunks = _chunks(getattr(stream, "raw", stream), name)
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= 4 and (b"\n" in start or b"\0" in start):
            break
    decoder = _decoder(start, name)
    separator = rest = ""
    for chunk in chain([start], chunks):
        rest += decoder.decode(chunk)
        # As `find -print0` writes it, a list has zero bytes from its first entry on.
        separator = separator or ("\0" if "\0" in rest else "\n" if "\n" in rest else "")
        if separator:
            *entries, rest = rest.split(separator)
            yield from _paths(entries, separator)
    yield from _paths([rest + decoder.decode(b"", final=True)], separator)


def _chunks(raw: IO[bytes], name: str) -> Iterator[bytes]:
    try:
        while chunk := raw.read(READ_BYTES):
            yield chunk
    except OSError as error:
        raise UsageError(
            f"The list {name} cannot be read: {error.strerror or error}.",
            hint="A list is a text file, or a pipe, with one path per line.",
        ) from error


def _paths(entries: list[str], separator: str) -> Iterator[Path]:
    for entry in entries:
        if entry.strip():
            yield Path(entry if separator == "\0" else entry.removesuffix("\r"))


def _decoder(start: bytes, name: str) -> codecs.IncrementalDecoder:
    """Return what decodes a list that begins like this.

    Raises:
        UsageError: It is no list, or UTF-16 that does not say so: read as names with zero bytes
            between them, a "/" in it would be the whole disk.
    """
    if start.startswith(_OTHER_FILES):
        raise UsageError(
            f"The list {name} is an image or an archive.",
            hint="A list has one path per line; '-' stands for such a list on standard input.",
        )
    for mark, encoding in _ENCODING_FROM_MARK.items():
        # The marks of UTF-16 may begin a name that is no text; its characters have zero bytes.
        if start.startswith(mark) and (encoding == "utf-8-sig" or b"\0" in start or start == mark):
            errors = "surrogateescape" if encoding == "utf-8-sig" else "replace"
            return codecs.getincrementaldecoder(encoding)(errors)
    has_zeros = [not byte for byte in start[:4]]
    if has_zeros in ([False, True] * 2, [True, False] * 2) or b"\0\n\0" in start:
        raise UsageError(
            f"The list {name} looks like UTF-16 without a byte order mark.",
            hint="Write it as UTF-8; before names of a single character put './'.",
        )
    return codecs.getincrementaldecoder(sys.getfilesystemencoding())("surrogateescape")
