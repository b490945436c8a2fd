"""Read an image file into memory without hanging on anything that is not a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from lineup.errors import ImageError, UnreadableImageError
from lineup.imaging.limits import DEFAULT_LIMITS, DecodeLimits

# A FIFO would block in open() until somebody writes to it; Windows has neither flag nor FIFOs.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

_SPECIAL_FILES = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def bytes_from_path(path: Path, *, limits: DecodeLimits = DEFAULT_LIMITS) -> bytes:
    """Read a regular file.

    Args:
        path: File to read; symbolic links are followed.
        limits: Files over `limits.max_bytes` are refused before they are read.

    Returns:
        The content; never empty.

    Raises:
        UnreadableImageError: Missing, empty, a folder, a device, without permission, or failing.
        ImageTooLargeError: Over `limits.max_bytes`.
    """
    try:
        # Asked before opening, because opening a device can already act on it.
        _check_regular(path, path.stat())
        data = _content(path, limits)
    except ImageError:
        raise
    except FileNotFoundError:
        raise UnreadableImageError(f"{path} does not exist; expected an image file") from None
    except PermissionError:
        raise UnreadableImageError(
            f"{path} may not be read: permission denied",
            hint="Give the user that runs lineup read permission.",
        ) from None
    except (OSError, ValueError, MemoryError) as error:
        # ValueError: a zero byte inside the path.
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadableImageError(f"{path} cannot be read: {reason}") from None
    if not data:
        raise UnreadableImageError(f"{path} is empty (0 bytes); expected an image file")
    return data


def _content(path: Path, limits: DecodeLimits) -> bytes:
    with os.fdopen(os.open(path, _OPEN_FLAGS), "rb") as stream:
        # Asked again: the path may name something else by now.
        status = os.fstat(stream.fileno())
        _check_regular(path, status)
        limits.check_bytes(status.st_size)
        # One byte over the limit, so that a file that still grows is refused too.
        data = stream.read(limits.max_bytes + 1)
    limits.check_bytes(len(data))
    return data


def _check_regular(path: Path, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    if stat.S_ISDIR(status.st_mode):
        locked = "" if os.access(path, os.R_OK | os.X_OK) else " without read permission"
        raise UnreadableImageError(f"{path} is a folder{locked}; expected an image file")
    kind = _SPECIAL_FILES.get(stat.S_IFMT(status.st_mode), "a special file")
    raise UnreadableImageError(f"{path} is {kind}; expected a regular image file")
