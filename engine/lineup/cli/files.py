"""Image files that a command line names, and what is said of those that failed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lineup.errors import UsageError

SOME_FAILED = 1
"""Exit code of a command that went on past images which it could not use."""


def images_from_arguments(arguments: Sequence[str]) -> list[Path]:
    """Return the images that paths, folders and patterns stand for.

    Raises:
        UsageError: There are none, or a path does not exist.
    """
    from lineup.finding import find_images

    paths = list(find_images(arguments))
    if not paths:
        raise no_images(arguments)
    return paths


def no_images(arguments: Sequence[str]) -> UsageError:
    """Return the error for arguments that stand for nothing."""
    return UsageError(
        f"No images in {', '.join(arguments)}.",
        hint="Folders are searched for files with the suffix of an image format; a file that is "
        "named itself is always tried.",
    )


def failure_line(path: str | Path, message: str) -> str:
    """Return what is said of a file that failed; most messages name it themselves."""
    return message if str(path) in message else f"{path}: {message}"
