"""Which TensorRT: the two Python modules that share one interface, found and named."""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass
from enum import Enum
from types import ModuleType
from typing import Any

from lineup.errors import MissingExtraError, UsageError

logger = logging.getLogger(__name__)


class Flavour(str, Enum):
    """A TensorRT product; the value is the word used on the command line."""

    TENSORRT = "tensorrt"
    RTX = "tensorrt-rtx"


_MODULE_AND_EXTRA = {
    Flavour.TENSORRT: ("tensorrt", "tensorrt"),
    Flavour.RTX: ("tensorrt_rtx", "rtx"),
}

OLDEST = {Flavour.TENSORRT: (10, 3), Flavour.RTX: (1, 1)}
"""Oldest release whose interface this package uses; TensorRT 10.3 is the one of JetPack 6."""


@dataclass(frozen=True, slots=True)
class Api:
    """A loaded TensorRT module.

    Attributes:
        flavour: Which product it is.
        module: The Python module.
        version: Its release, e.g. "10.3.0".
    """

    flavour: Flavour
    module: Any
    version: str

    def flag(self, enumeration: str, name: str) -> Any | None:
        """Return a member of one of the module's enumerations; None where it lacks it."""
        return getattr(getattr(self.module, enumeration, None), name, None)


def api_from_flavour(flavour: Flavour) -> Api:
    """Import the module of a TensorRT product.

    Raises:
        MissingExtraError: It is not installed.
        UsageError: It is older than what this package is written for.
    """
    name, extra = _MODULE_AND_EXTRA[flavour]
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"{flavour.value} was asked for, but the module {name!r} cannot be imported: {error}",
            hint=f"pip install 'lineup-forensics[{extra}]' brings it, on a Jetson JetPack.",
        ) from error
    return api_from_module(flavour, module)


def api_from_module(flavour: Flavour, module: ModuleType | Any) -> Api:
    """Wrap an imported module.

    Raises:
        UsageError: It is older than what this package is written for.
    """
    version = str(module.__version__)
    release = tuple(int(part) for part in version.split(".")[:2])
    if release < OLDEST[flavour]:
        oldest = ".".join(str(part) for part in OLDEST[flavour])
        raise UsageError(
            f"{flavour.value} {version} is installed; {oldest} or later is needed.",
            hint="Upgrade it, or use --device cuda, which needs no TensorRT.",
        )
    return Api(flavour=flavour, module=module, version=version)


def collecting_logger(trt: Any, errors: list[str]) -> Any:
    """Return a TensorRT logger that appends every error to the list `errors`."""

    class Collector(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                errors.append(message)
            logger.debug("tensorrt: %s", message)

    return Collector()
