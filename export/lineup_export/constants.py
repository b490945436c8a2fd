"""What the constants of a graph hold."""

from __future__ import annotations

import numpy as np
import onnx_ir
from onnx_ir.convenience import get_const_tensor

from lineup.types import AnyArray


def constant_from_value(value: onnx_ir.Value | None) -> AnyArray | None:
    """Return the array of an initializer or of a Constant's output; None for anything else."""
    tensor = None if value is None else get_const_tensor(value)
    return None if tensor is None else np.asarray(tensor.numpy())
