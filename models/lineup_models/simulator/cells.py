"""Cells of the simulated decoders: normalisation, convolution, upsampling."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from lineup_models.simulator.architecture import Activation, Cell, Norm, Operation, Upsampler

Statistics = dict[str, tuple[Tensor, Tensor]]
"""Variance and mean per channel, float32 (channels,) each, that each batch norm has seen."""


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


SINC_ZEROS = 3
"""Zero crossings of the windowed sinc on each side."""

KAISER_BETA = 4.0


def binomial_taps(factor: int) -> Tensor:
    """Return the filter after repetition by `factor`: a binomial of 2 factor - 1 taps, sum 1."""
    taps = np.ones(1)
    for _ in range(2 * factor - 2):
        taps = np.convolve(taps, [0.5, 0.5])
    return torch.tensor(taps, dtype=torch.float32)


def triangle_taps(factor: int) -> Tensor:
    """Return the filter of linear interpolation by `factor`: 2 factor - 1 taps, sum `factor`."""
    ramp = np.arange(1, factor + 1) / factor
    return torch.tensor(np.concatenate([ramp, ramp[-2::-1]]), dtype=torch.float32)


def kaiser_sinc_taps(factor: int) -> Tensor:
    """Return the windowed-sinc filter of interpolation by `factor`, sum `factor`."""
    reach = SINC_ZEROS * factor - 1
    position = np.arange(-reach, reach + 1) / factor
    taps = np.sinc(position) * np.kaiser(2 * reach + 1, KAISER_BETA)
    return torch.tensor(taps * (factor / taps.sum()), dtype=torch.float32)


def filtered(features: Tensor, taps: Tensor) -> Tensor:
    """Filter rows and columns with the same odd number of taps; borders repeat the edge pixel."""
    reach, channels = len(taps) // 2, features.shape[1]
    padded = F.pad(features, (reach, reach, reach, reach), mode="replicate")
    down = F.conv2d(padded, taps.view(1, 1, -1, 1).repeat(channels, 1, 1, 1), groups=channels)
    return F.conv2d(down, taps.view(1, 1, 1, -1).repeat(channels, 1, 1, 1), groups=channels)


def interpolated_by_insertion(features: Tensor, factor: int, taps: Tensor) -> Tensor:
    """Put factor - 1 zeros after each sample, then filter; the border samples are continued."""
    margin = len(taps) // 2 // factor + 1
    padded = F.pad(features, (margin,) * 4, mode="replicate")
    n, channels, height, width = padded.shape
    spread = padded.new_zeros(n, channels, height, factor, width, factor)
    spread[:, :, :, 0, :, 0] = padded
    spread = filtered(spread.view(n, channels, height * factor, width * factor), taps)
    cut = slice(margin * factor, -margin * factor)
    return spread[:, :, cut, cut]


def _interpolated(features: Tensor, factor: int, mode: str) -> Tensor:
    corners = None if mode == "nearest" else False
    return F.interpolate(features, scale_factor=factor, mode=mode, align_corners=corners)


FIXED_UPSAMPLERS: dict[Upsampler, Callable[[Tensor, int], Tensor]] = {
    Upsampler.BILINEAR: partial(_interpolated, mode="bilinear"),
    Upsampler.NEAREST: partial(_interpolated, mode="nearest"),
    Upsampler.BICUBIC: partial(_interpolated, mode="bicubic"),
    Upsampler.BLURRED_NEAREST: lambda features, factor: filtered(
        _interpolated(features, factor, "nearest"), binomial_taps(factor)
    ),
    Upsampler.ZERO_INSERTION: lambda features, factor: interpolated_by_insertion(
        features, factor, triangle_taps(factor)
    ),
    Upsampler.KAISER_SINC: lambda features, factor: interpolated_by_insertion(
        features, factor, kaiser_sinc_taps(factor)
    ),
}
"""Upsamplers without weights: (features, factor) -> enlarged features."""


class VariUp(nn.Module):
    """Enlarges by `factor` and changes the number of channels, by any of `upsamplers`.

    The channels are changed first, where pixels are few. Interpolations share one projection: at
    a few thousand training steps separate ones would each see a handful of images.

    Input float32 (N, channels_in, H, W); output (N, channels_out, factor H, factor W).
    """

    def __init__(
        self, channels_in: int, channels_out: int, factor: int, upsamplers: tuple[Upsampler, ...]
    ) -> None:
        super().__init__()
        self.factor = factor
        self.projection = nn.Conv2d(channels_in, channels_out, 1)
        if Upsampler.PIXEL_SHUFFLE in upsamplers:
            # Beyond x2 a plain linear map per patch, as patch decoders have, bounds the weights.
            size = 3 if factor == 2 else 1
            self.phases = nn.Conv2d(channels_in, channels_out * factor**2, size, padding=size // 2)
        if Upsampler.TRANSPOSED in upsamplers:
            self.transposed = nn.ConvTranspose2d(
                channels_out, channels_out, 2 * factor, stride=factor, padding=factor // 2
            )

    def forward(self, features: Tensor, upsampler: Upsampler) -> Tensor:
        """Return the enlarged features."""
        if upsampler is Upsampler.PIXEL_SHUFFLE:
            return F.pixel_shuffle(self.phases(features), self.factor)
        projected = self.projection(features)
        if upsampler is Upsampler.TRANSPOSED:
            enlarged: Tensor = self.transposed(projected)
            return enlarged
        return FIXED_UPSAMPLERS[upsampler](projected, self.factor)


NORM_GROUPS = 8
EPSILON = 1e-5


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    Activation.GELU: F.gelu,
    Activation.SILU: F.silu,
    Activation.LEAKY_RELU: partial(F.leaky_relu, negative_slope=0.2),
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

    def forward(self, features: Tensor, style: Tensor, key: str, statistics: Statistics) -> Tensor:
        """Return the normalised features.

        A batch norm takes the moments called `key` in `statistics`; where there are none, it
        takes those of the batch and puts them there.
        """
        gain, offset = self.affine(style)[:, :, None, None].chunk(2, dim=1)
        if self.norm is Norm.BATCH:
            if key not in statistics:
                statistics[key] = torch.var_mean(features, dim=(0, 2, 3), correction=0)
            variance, mean = statistics[key]
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
        self, features: Tensor, cell: Cell, style: Tensor, key: str, statistics: Statistics
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
