"""Which versions of which tools took part in an export."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable

from lineup._version import __version__

OWN_TOOLS = ("numpy", "onnx", "onnxruntime", "onnxscript", "torch")
TOOLS = ("diffusers", *OWN_TOOLS, "transformers")
_DISTRIBUTIONS = {"onnxruntime": ("onnxruntime", "onnxruntime-gpu")}


def tool_versions(names: Iterable[str] = TOOLS) -> dict[str, str]:
    """Return the version per tool that takes part in an export; absent ones are left out."""
    found = {"lineup": __version__, "python": platform.python_version()}
    for name in names:
        for distribution in _DISTRIBUTIONS.get(name, (name,)):
            try:
                found[name] = importlib.metadata.version(distribution)
            except importlib.metadata.PackageNotFoundError:
                continue
    return found
