"""VariUp: the ways a level can enlarge its input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from lineup_models.simulator.space import Upsampler

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


def _interpolated(mode: str) -> Callable[[Tensor, int], Tensor]:
    def enlarge(features: Tensor, factor: int) -> Tensor:
        corners = None if mode == "nearest" else False
        return F.interpolate(features, scale_factor=factor, mode=mode, align_corners=corners)

    return enlarge


def _blurred_nearest(features: Tensor, factor: int) -> Tensor:
    return filtered(_interpolated("nearest")(features, factor), binomial_taps(factor))


def _zero_insertion(features: Tensor, factor: int) -> Tensor:
    return interpolated_by_insertion(features, factor, triangle_taps(factor))


def _kaiser_sinc(features: Tensor, factor: int) -> Tensor:
    return interpolated_by_insertion(features, factor, kaiser_sinc_taps(factor))


FIXED_UPSAMPLERS: dict[Upsampler, Callable[[Tensor, int], Tensor]] = {
    Upsampler.BILINEAR: _interpolated("bilinear"),
    Upsampler.NEAREST: _interpolated("nearest"),
    Upsampler.BICUBIC: _interpolated("bicubic"),
    Upsampler.BLURRED_NEAREST: _blurred_nearest,
    Upsampler.ZERO_INSERTION: _zero_insertion,
    Upsampler.KAISER_SINC: _kaiser_sinc,
}
"""Upsamplers without weights: (features, factor) -> enlarged features."""


class VariUp(nn.Module):
    """Enlarges by `factor` and changes the number of channels, by any of `upsamplers`.

    The channels are changed first, where pixels are few. Interpolations share one projection: at
    a few thousand training steps separate ones would each see a handful of images.

    Input float32 (N, channels_in, H, W); output (N, channels_out, factor H, factor W).
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        factor: int,
        upsamplers: tuple[Upsampler, ...],
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
