"""Names for the array types that cross module boundaries."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

RgbImage = npt.NDArray[np.uint8]
"""Shape (height, width, 3), dtype uint8, 0..255, RGB order."""

RgbTiles = npt.NDArray[np.uint8]
"""Shape (tiles, size, size, 3), dtype uint8, 0..255, RGB order."""

HalfArray = npt.NDArray[np.float16]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
AnyArray = npt.NDArray[Any]
