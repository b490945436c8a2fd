"""Networks on spectrum maps: ResNet-50 as published, and a lean one that gives a map back."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

EXPANSION = 4
"""Output channels of a bottleneck over its inner ones."""


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution without bias and its batch norm."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 around a shortcut; the stride is on the 3x3, as in ResNet v1.5."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * EXPANSION
        self.reduce = _convolution(inputs, width, 1)
        self.filter = _convolution(width, width, 3, stride)
        self.expand = _convolution(width, outputs, 1)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else _convolution(inputs, outputs, 1, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Return (N, EXPANSION * width, height / stride, width / stride)."""
        added = F.relu(self.filter(F.relu(self.reduce(features))))
        return F.relu(self.expand(added) + self.shortcut(features))


class ResNet(nn.Module):
    """Bottleneck ResNet; the defaults are ResNet-50 with one input channel.

    Input float32 (N, 1, height, width); output float32 (N, embedding), not normalised.

    Args:
        embedding: Outputs of the last, linear layer.
        blocks: Bottlenecks of each of the stages.
        width: Inner channels of the first stage, doubled from stage to stage.
    """

    def __init__(
        self, embedding: int, blocks: tuple[int, ...] = (3, 4, 6, 3), width: int = 64
    ) -> None:
        super().__init__()
        self.stem = _convolution(1, width, 7, 2)
        stages: list[nn.Module] = []
        inputs = width
        for stage, count in enumerate(blocks):
            inner = width << stage
            for block in range(count):
                stages.append(Bottleneck(inputs, inner, 2 if stage > 0 and block == 0 else 1))
                inputs = inner * EXPANSION
        self.stages = nn.Sequential(*stages)
        self.project = nn.Linear(inputs, embedding)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, maps: Tensor) -> Tensor:
        """Return one embedding per map."""
        features = F.max_pool2d(F.relu(self.stem(maps)), 3, stride=2, padding=1)
        pooled = self.stages(features).mean(dim=(2, 3))
        embedding: Tensor = self.project(pooled)
        return embedding


class PlainBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut, without norms; starts as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(_bias(self.second))

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape."""
        added: Tensor = self.second(F.relu(self.first(F.relu(features))))
        return features + added


class MapNetwork(nn.Module):
    """Whitened spectrum map to a correction of it, zero at the start of the training.

    Works at half the map's resolution. Without norms an image's output depends on nothing else
    in the batch, and the strength of its spectrum stays visible.

    Input and output float32 (N, 1, height, width), height and width even.

    Args:
        width: Channels.
        blocks: Residual blocks.
    """

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, width, 4, stride=2, padding=1)
        self.blocks = nn.Sequential(*(PlainBlock(width) for _ in range(blocks)))
        self.head = nn.Conv2d(width, 4, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(_bias(self.head))

    def forward(self, maps: Tensor) -> Tensor:
        """Return the correction."""
        # Peaks and dips of the spectrum tell of different things; both at hand from the start.
        features = self.stem(torch.cat([maps, maps.abs()], dim=1))
        return F.pixel_shuffle(self.head(F.relu(self.blocks(features))), 2)


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias
