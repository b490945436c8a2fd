"""The number format in which training computes."""

from __future__ import annotations

import torch


def mixed_precision(device: torch.device, *, bfloat16: bool) -> torch.autocast:
    """Return a context in which convolutions and products are computed in bfloat16, if asked."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16)
