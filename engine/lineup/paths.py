"""Where lineup keeps what it stores and what it ships."""

from __future__ import annotations

import functools
import logging
import os
from pathlib import Path

import platformdirs

from lineup.text import shown

logger = logging.getLogger(__name__)

HOME_VARIABLE = "LINEUP_HOME"


def home_dir() -> Path:
    """Return the folder of the bundle store and the user's gallery (not created here).

    `$LINEUP_HOME` wins; otherwise the platform's user cache folder is used.
    """
    override = os.environ.get(HOME_VARIABLE)
    if override:
        return Path(os.path.realpath(os.path.expanduser(override)))  # noqa: PTH111 - never fails
    return Path(platformdirs.user_cache_dir("lineup", appauthor=False))


def home_entries(folder: Path) -> list[Path]:
    """Return what lies in a folder of the home, by name; nothing where there is no such folder.

    Nothing there is needed for an answer from what ships: a folder that cannot be read is warned
    of, once, and taken for empty.
    """
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        outermost_first = (*reversed(folder.parents), folder)
        culprit = next((one for one in outermost_first if not _can_be_searched(one)), folder)
        _warn_once(culprit, error.strerror or str(error))
        return []


def _can_be_searched(folder: Path) -> bool:
    return os.path.isdir(folder) and os.access(folder, os.X_OK)  # noqa: PTH112 - never fails


@functools.cache
def _warn_once(folder: Path, reason: str) -> None:
    logger.warning(
        "%s cannot be read (%s): nothing of yours in it counts", shown(str(folder)), reason
    )


def shipped_reject_path() -> Path:
    """Return the shipped gallery of simulated generators, which is none of any sources."""
    return shipped_dir() / "reject.safetensors"


def shipped_dir() -> Path:
    """Return the read-only folder of bundles, gallery and samples inside the package."""
    return Path(__file__).parent / "data"
