"""The exceptions of lineup.

Every error says what was given, what was expected and what to do next.
An error of this tree is about the input or the environment, so the command line
prints it without a traceback; anything else that escapes is a bug.

LineupError
├── UsageError                  what was asked for cannot be asked for (exit code 2)
│   ├── SourceNotFoundError     no such source in the gallery
│   ├── LineupNotFoundError     no lineup of that name or at that path
│   ├── DeviceUnavailableError  the requested device is not really there
│   └── MissingExtraError       a command needs an optional dependency
├── ImageError                  one image cannot be used; a scan goes on
│   ├── UnreadableImageError    empty, truncated, corrupt, or no permission
│   ├── UnsupportedImageError   not an image, or a format without a decoder
│   └── ImageTooLargeError      over the pixel or byte limit
├── BundleError                 a model bundle cannot be used
│   ├── BundleNotFoundError     no bundle of that name or at that path (exit code 2)
│   ├── BundleFormatError       the manifest breaks its schema or lacks a field
│   ├── BundleVersionError      written by a newer lineup
│   └── BundleIntegrityError    a file is missing, truncated, altered, or outside the bundle
├── LineupFileError             a lineup.toml cannot be read, or a field is wrong
├── ResynthesisError            pictures made elsewhere are missing or wrong, or a command failed
├── GalleryError                a gallery cannot be read, or was made with another fingerprint
├── ClassifierError             an open-set classifier cannot be fitted, read or written
├── CalibrationError            a calibration cannot be fitted, read or written
├── BackendError                a graph was fed what it does not take, or failed to run
└── ParityError                 an exported graph does not reproduce its reference
"""

from __future__ import annotations

import difflib
import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Return a hint that names the known name closest to a wrong one, or None if none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {close[0]!r}?" if close else None


class LineupError(Exception):
    """Base of every error that lineup raises on purpose.

    Args:
        message: What was given and what was expected, in one sentence.
        hint: What to do next; printed on its own line.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def one_line(self) -> str:
        """The message, and the hint where there is one, for tables and rows."""
        return self.message if self.hint is None else f"{self.message.rstrip('.')}. {self.hint}"

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n{self.hint}"


class UsageError(LineupError):
    """What was asked for cannot be asked for."""

    exit_code = 2


class SourceNotFoundError(UsageError):
    """No such source in the gallery."""


class LineupNotFoundError(UsageError):
    """No lineup of that name or at that path."""


class DeviceUnavailableError(UsageError):
    """The requested device is not really there; lineup never falls back in silence."""


class MissingExtraError(UsageError):
    """A command needs an optional dependency that is not installed."""


class ImageError(LineupError):
    """One image cannot be used; a scan records it and goes on."""


class UnreadableImageError(ImageError):
    """The file is empty, truncated, corrupt or may not be read."""


class UnsupportedImageError(ImageError):
    """The file is not an image, or is in a format without a decoder."""


class ImageTooLargeError(ImageError):
    """The image is over the pixel or byte limit that guards against decompression bombs."""


class BundleError(LineupError):
    """A model bundle cannot be used."""


class BundleNotFoundError(BundleError):
    """No bundle of that name or at that path."""

    exit_code = 2  # as for sources and lineups: the name is wrong, not the bundle


class BundleFormatError(BundleError):
    """The manifest breaks its schema or lacks a field that the runtime needs."""


class BundleVersionError(BundleError):
    """The bundle was written by a newer lineup."""


class BundleIntegrityError(BundleError):
    """A file of the bundle is missing, truncated, altered, or lies outside of it."""


class LineupFileError(LineupError):
    """A lineup.toml cannot be read or written, or a field of it is missing or wrong."""


class ResynthesisError(LineupError):
    """Pictures made elsewhere are missing or wrong, or the command that makes them failed."""


class GalleryError(LineupError):
    """A gallery cannot be read, or was made with another fingerprint bundle."""


class ClassifierError(LineupError):
    """An open-set classifier cannot be fitted, read or written, or is of another fingerprint."""


class CalibrationError(LineupError):
    """A calibration cannot be fitted, read or written, or is of another lineup."""


class BackendError(LineupError):
    """A graph was fed what it does not take, or failed to run."""


class ParityError(LineupError):
    """An exported graph does not reproduce its reference; no artifact was written."""


def require_extra(extra: str, modules: Sequence[str]) -> None:
    """Check that the modules of an extra can be imported, without importing them.

    Args:
        extra: Name in `lineup-forensics[extra]`.
        modules: Top-level modules that it brings.

    Raises:
        MissingExtraError: One is missing; the hint is the line that installs it.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"This command needs {', '.join(missing)}, which is not installed.",
            hint=f"Install it with: pip install 'lineup-forensics[{extra}]'",
        )
