"""Running average of a model's weights while it is trained."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

import torch
from torch import nn

Model = TypeVar("Model", bound=nn.Module)


def average_of(model: Model) -> Model:
    """Return a frozen copy that `follow` keeps behind the model."""
    copy = deepcopy(model)
    copy.eval().requires_grad_(False)
    return copy


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the average towards the model; in the first steps by more, as it starts from chance."""
    kept = min(decay, (1 + step) / (10 + step))
    for old, new in zip(average.parameters(), model.parameters(), strict=True):
        old.lerp_(new, 1.0 - kept)
    for kept_buffer, buffer in zip(average.buffers(), model.buffers(), strict=True):
        kept_buffer.copy_(buffer)
