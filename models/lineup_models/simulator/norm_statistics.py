"""Where batch norms take their statistics from.

Running averages are no use here: each path feeds a norm from another distribution, and their
average fits none of them. Training therefore uses the statistics of the batch. For a model with a
fingerprint of its own, which must not depend on what else is in the batch, the statistics of the
path are measured once on a calibration batch and kept, as they are in a generator after training.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

Moments = tuple[Tensor, Tensor]
"""Mean and variance per channel, float32 (channels,) each."""


class BatchStatistics:
    """Statistics from the batch at hand."""

    def moments(self, key: str, features: Tensor) -> Moments:
        """Return mean and variance for the norm called `key`."""
        del key
        variance, mean = torch.var_mean(features, dim=(0, 2, 3), correction=0)
        return mean, variance


class RecordedStatistics(BatchStatistics):
    """Statistics from the batch at hand, written down for later.

    Attributes:
        recorded: What each norm has seen.
    """

    def __init__(self) -> None:
        self.recorded: dict[str, Moments] = {}

    def moments(self, key: str, features: Tensor) -> Moments:
        """Return mean and variance for the norm called `key`, and record them."""
        moments = super().moments(key, features)
        self.recorded[key] = moments
        return moments


class FixedStatistics(BatchStatistics):
    """Statistics recorded earlier."""

    def __init__(self, recorded: Mapping[str, Moments]) -> None:
        self.recorded = recorded

    def moments(self, key: str, features: Tensor) -> Moments:
        """Return what was recorded for the norm called `key`."""
        del features
        return self.recorded[key]
