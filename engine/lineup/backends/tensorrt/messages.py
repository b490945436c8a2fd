"""TensorRT's log: kept for error messages, and passed on to Python's logging."""

from __future__ import annotations

import logging
from typing import Any

logger = logging.getLogger(__name__)


def collecting_logger(trt: Any, errors: list[str]) -> Any:
    """Return a TensorRT logger that appends every error to a list.

    Args:
        trt: The TensorRT module.
        errors: Grows while the logger is used.
    """

    class Collector(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                errors.append(message)
            logger.debug("tensorrt: %s", message)

    return Collector()
