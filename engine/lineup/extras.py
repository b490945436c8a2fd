"""Optional dependencies: what a command needs, and how to get it when it is missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from lineup.errors import MissingExtraError


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
