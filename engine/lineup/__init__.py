"""lineup tells which AI generator made an image, on the machine where the image is.

    from pathlib import Path
    import lineup

    with lineup.open_engine() as engine:
        image = lineup.image_from_path(Path("query.png"))
        verdict = engine.attribute(image.pixels)
        print(verdict.label, verdict.confidence)

Names are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lineup._version import __version__

if TYPE_CHECKING:
    from lineup.attribution.engine import Attribution, LineupEngine
    from lineup.attribution.opening import open_lineup_engine
    from lineup.attribution.options import AttributionOptions
    from lineup.engine import Engine, Verification, open_engine
    from lineup.errors import LineupError
    from lineup.imaging.decode import DecodedImage, image_from_path
    from lineup.results import Evidence, Verdict

__all__ = [
    "Attribution",
    "AttributionOptions",
    "DecodedImage",
    "Engine",
    "Evidence",
    "LineupEngine",
    "LineupError",
    "Verdict",
    "Verification",
    "__version__",
    "image_from_path",
    "open_engine",
    "open_lineup_engine",
]

_MODULE_FROM_NAME = {
    "Attribution": "lineup.attribution.engine",
    "AttributionOptions": "lineup.attribution.options",
    "DecodedImage": "lineup.imaging.decode",
    "Engine": "lineup.engine",
    "Evidence": "lineup.results",
    "LineupEngine": "lineup.attribution.engine",
    "LineupError": "lineup.errors",
    "Verdict": "lineup.results",
    "Verification": "lineup.engine",
    "image_from_path": "lineup.imaging.decode",
    "open_engine": "lineup.engine",
    "open_lineup_engine": "lineup.attribution.opening",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `lineup --help` loads no numpy and no model."""
    if name not in _MODULE_FROM_NAME:
        raise AttributeError(f"module 'lineup' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_FROM_NAME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
