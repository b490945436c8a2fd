"""Mixture-of-kernel convolution: one kernel per image, mixed from a bank."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

START_NOISE = 1.0
"""Of the kernels around the identity they start from, relative to a variance-keeping start.

All paths run through the same kernels, with activation and norm in different places. From random
kernels they pull in different directions for thousands of steps; from the identity they agree.
"""


class MoKConv(nn.Module):
    """(sum_k w_k (*) W_k) * h with w = psi(h) P: a coefficient per kernel and output filter.

    psi is (1, tanh(A mean(h) + a)): the constant entry gives every image the model's own mixture
    and the bounded rest moves it with the image. Without it a mixture could vanish, and an
    unbounded psi lets the product of several cells explode.

    Input float32 (N, channels_in, H, W); output float32 (N, channels_out, H, W), borders zero
    padded.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        kernels: int = 4,
        descriptor: int = 16,
        size_px: int = 3,
    ) -> None:
        super().__init__()
        noise = torch.randn(kernels, channels_out, channels_in, size_px, size_px)
        noise *= START_NOISE / math.sqrt(channels_in * size_px**2)
        passing = nn.init.dirac_(torch.empty_like(noise[0]))
        self.kernels = nn.Parameter(passing / math.sqrt(kernels) + noise)
        self.bias = nn.Parameter(torch.zeros(channels_out))
        self.describe = nn.Linear(channels_in, descriptor - 1)
        mixture = torch.randn(descriptor, kernels * channels_out) * (0.1 / math.sqrt(descriptor))
        # Independent kernels at 1/sqrt(K) each add up to the variance of one.
        mixture[0] = 1.0 / math.sqrt(kernels)
        self.mixture = nn.Parameter(mixture)

    def coefficients(self, features: Tensor) -> Tensor:
        """Return w, float32 (N, kernels, channels_out)."""
        descriptor = torch.tanh(self.describe(features.mean(dim=(2, 3))))
        constant = torch.ones_like(descriptor[:, :1])
        w = torch.cat([constant, descriptor], dim=1) @ self.mixture
        return w.view(len(features), self.kernels.shape[0], self.kernels.shape[1])

    def forward(self, features: Tensor) -> Tensor:
        """Return the convolution of each image with its own kernel."""
        mixed = torch.einsum("nko,koihw->noihw", self.coefficients(features), self.kernels)
        padding = self.kernels.shape[-1] // 2
        # One call per image: as fast as a grouped convolution on a CPU, and an image's result
        # does not depend on the others in the batch.
        return torch.cat(
            [
                F.conv2d(image, kernel, self.bias, padding=padding)
                for image, kernel in zip(torch.split(features, 1), mixed, strict=True)
            ]
        )
