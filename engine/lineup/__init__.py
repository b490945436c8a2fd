"""lineup tells which AI generator made an image, on the machine where the image is.

    import lineup

    with lineup.open() as engine:
        answer = engine.attribute("query.png")  # or bytes, a PIL image, an array, a file object
        print(answer.verdict.title, answer.verdict.confidence)
        for row in engine.scan("photos"):
            print(row.path, row.verdict.label if row.verdict else row.error.message)

Names are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lineup._version import __version__

if TYPE_CHECKING:
    from lineup.engine import Engine
    from lineup.engine import open_engine as open  # noqa: A004 - read as lineup.open
    from lineup.errors import LineupError
    from lineup.options import AttributionOptions
    from lineup.reading import read_image
    from lineup.results import Attribution, Evidence, Verdict, Verification

__all__ = [
    "Attribution",
    "AttributionOptions",
    "Engine",
    "Evidence",
    "LineupError",
    "Verdict",
    "Verification",
    "__version__",
    "open",
    "read_image",
]

_TARGET_FROM_NAME = {
    "Attribution": "lineup.results:Attribution",
    "AttributionOptions": "lineup.options:AttributionOptions",
    "Engine": "lineup.engine:Engine",
    "Evidence": "lineup.results:Evidence",
    "LineupError": "lineup.errors:LineupError",
    "Verdict": "lineup.results:Verdict",
    "Verification": "lineup.results:Verification",
    "open": "lineup.engine:open_engine",
    "read_image": "lineup.reading:read_image",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `lineup --help` loads no numpy and no model."""
    if name not in _TARGET_FROM_NAME:
        raise AttributeError(f"module 'lineup' has no attribute {name!r}")
    module, attribute = _TARGET_FROM_NAME[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
