"""VariStruct: a cell whose operations come in any order."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from lineup_models.simulator.architecture import Cell
from lineup_models.simulator.mokconv import MoKConv
from lineup_models.simulator.norm_statistics import BatchStatistics
from lineup_models.simulator.space import Activation, Norm, Operation

NORM_GROUPS = 8
EPSILON = 1e-5


def _leaky_relu(features: Tensor) -> Tensor:
    return F.leaky_relu(features, 0.2)


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    Activation.GELU: F.gelu,
    Activation.SILU: F.silu,
    Activation.LEAKY_RELU: _leaky_relu,
}


class StyledNorm(nn.Module):
    """A normalisation whose gain and offset follow a style vector.

    Instance and group norms erase the brightness, colour and contrast of an image, and without
    skip connections nothing after them can bring these back: every reconstruction would have the
    same mean, an easier mark than any fingerprint. The style, a global summary of the features
    the decoder starts from, restores them, as in style-based generators.

    Input float32 (N, channels, H, W), style float32 (N, style); output as the input.
    """

    def __init__(self, channels: int, style: int, norm: Norm) -> None:
        super().__init__()
        self.norm = norm
        self.affine = nn.Linear(style, 2 * channels)
        nn.init.normal_(self.affine.weight, std=0.1)
        with torch.no_grad():
            self.affine.bias.copy_(torch.cat([torch.ones(channels), torch.zeros(channels)]))

    def forward(
        self, features: Tensor, style: Tensor, key: str, statistics: BatchStatistics
    ) -> Tensor:
        """Return the normalised features; `key` names a batch norm to `statistics`."""
        gain, offset = self.affine(style)[:, :, None, None].chunk(2, dim=1)
        if self.norm is Norm.BATCH:
            mean, variance = statistics.moments(key, features)
            scale = torch.rsqrt(variance + EPSILON)
            # Folded into one multiply-add per pixel.
            gain = gain * scale[:, None, None]
            return torch.addcmul(offset - gain * mean[:, None, None], features, gain)
        groups = features.shape[1] if self.norm is Norm.INSTANCE else NORM_GROUPS
        return torch.addcmul(offset, F.group_norm(features, groups, eps=EPSILON), gain)


class VariStruct(nn.Module):
    """Convolution, activation and norm in the order that the architecture asks for.

    Input float32 (N, channels, H, W); output the same shape.
    """

    def __init__(self, channels: int, style: int) -> None:
        super().__init__()
        self.convolution = MoKConv(channels, channels)
        self.norms = nn.ModuleDict({norm.name: StyledNorm(channels, style, norm) for norm in Norm})

    def forward(
        self,
        features: Tensor,
        cell: Cell,
        style: Tensor,
        key: str,
        statistics: BatchStatistics,
    ) -> Tensor:
        """Return the features after the three operations."""
        for operation in cell.order:
            if operation is Operation.CONVOLUTION:
                features = self.convolution(features)
            elif operation is Operation.ACTIVATION:
                features = ACTIVATIONS[cell.activation](features)
            else:
                features = self.norms[cell.norm.name](features, style, key, statistics)
        return features
