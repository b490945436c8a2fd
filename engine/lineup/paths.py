"""Where lineup keeps what it stores and what it ships."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

HOME_VARIABLE = "LINEUP_HOME"


def home_dir() -> Path:
    """Return the folder of the bundle store and the user's gallery (not created here).

    `$LINEUP_HOME` wins; otherwise the platform's user cache folder is used.
    """
    override = os.environ.get(HOME_VARIABLE)
    if override:
        return Path(override).expanduser().resolve()
    return Path(platformdirs.user_cache_dir("lineup", appauthor=False))


def shipped_reject_path() -> Path:
    """Return the shipped gallery of simulated generators, which is none of any sources."""
    return shipped_dir() / "reject.safetensors"


def shipped_dir() -> Path:
    """Return the read-only folder of bundles, gallery and samples inside the package."""
    return Path(__file__).parent / "data"
