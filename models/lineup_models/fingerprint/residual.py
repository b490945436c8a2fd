"""Residual filters: image in, noise out.

All take and give float32 (N, C, size, size), grey levels 0..255 in, and mirror the tile at its
border without repeating the border pixel (OpenCV's BORDER_REFLECT_101). They are made of shifts,
sums and elementwise operations, which every backend has.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from lineup_models.fingerprint.spec import ResidualFilter, SpectrumSpec


def half_disc(radius: int) -> list[tuple[int, int]]:
    """Return one offset (dy, dx) of every opposite pair in a disc, the centre left out."""
    return [
        (dy, dx)
        for dy in range(radius + 1)
        for dx in range(-radius, radius + 1)
        if (dy > 0 or dx > 0) and dy * dy + dx * dx <= radius * radius
    ]


class BilateralResidual(nn.Module):
    """x - bilateral(x), as the sum of weighted differences to the neighbours.

    r(p) = sum_q w(p, q) (x(p) - x(q)) / sum_q w(p, q), w = exp(-|x(p) - x(q)|^2 / (2 sigma_grey^2))
    exp(-|p - q|^2 / (2 sigma_space^2)), q over a disc. No large numbers cancel, and because w is
    symmetric each difference serves both of its ends.
    """

    def __init__(self, spec: SpectrumSpec) -> None:
        super().__init__()
        self.radius = spec.window_px // 2
        # Grey levels in units of sqrt(2) sigma make the exponent a plain square.
        self.unit = math.sqrt(2.0) * spec.sigma_grey
        self.offsets = half_disc(self.radius)
        self.log_space = [
            -(dy * dy + dx * dx) / (2.0 * spec.sigma_space_px**2) for dy, dx in self.offsets
        ]

    def forward(self, image: Tensor) -> Tensor:
        """Return the residual of `image`."""
        height, width = image.shape[2], image.shape[3]
        r = self.radius
        padded = F.pad(image * (1.0 / self.unit), (r, r, r, r), mode="reflect")
        numerator: Tensor | None = None
        weights: Tensor | None = None
        for (dy, dx), log_space in zip(self.offsets, self.log_space, strict=True):
            # Pairs (p, p + d) for p in the tile and in the tile moved by -d.
            top, left = r - dy, r - max(dx, 0)
            rows, columns = height + dy, width + abs(dx)
            first = padded[:, :, top : top + rows, left : left + columns]
            second = padded[:, :, top + dy : top + dy + rows, left + dx : left + dx + columns]
            difference = first - second
            weight = torch.exp(log_space - difference * difference)
            weighted = weight * difference
            here = (slice(None), slice(None), slice(dy, None), _columns(max(dx, 0), width))
            there = (slice(None), slice(None), slice(0, height), _columns(max(-dx, 0), width))
            gain = weighted[here] - weighted[there]
            mass = weight[here] + weight[there]
            numerator = gain if numerator is None else numerator + gain
            weights = mass if weights is None else weights + mass
        assert numerator is not None
        assert weights is not None
        return numerator * self.unit / (weights + 1.0)


def _columns(start: int, width: int) -> slice:
    return slice(start, start + width)


def window_sums(image: Tensor, window_px: int) -> Tensor:
    """Return the sums over every full square window.

    Sums of runs are doubled, one axis after the other. On integers of moderate size they are exact
    in float32, and unlike a convolution they stay so on GPUs that round inputs to TF32. Slices and
    additions also take a seventh of the time of AveragePool in ONNX Runtime.

    Args:
        image: (N, C, height, width).
        window_px: Side of the window.

    Returns:
        (N, C, height - window_px + 1, width - window_px + 1).
    """
    return _run_sums(_run_sums(image, 2, window_px), 3, window_px)


def _run_sums(image: Tensor, axis: int, count: int) -> Tensor:
    length = image.shape[axis] - count + 1
    total: Tensor | None = None
    start, size, runs = 0, 1, image  # runs[i] is the sum of image[i : i + size]
    while size <= count:
        if count & size:
            part = runs.narrow(axis, start, length)
            total = part if total is None else total + part
            start += size
        size *= 2
        if size <= count:
            kept = image.shape[axis] - size + 1
            runs = runs.narrow(axis, 0, kept) + runs.narrow(axis, size // 2, kept)
    assert total is not None
    return total


class WienerResidual(nn.Module):
    """(x - m) s^2 / (v + s^2), m and v the window's mean and variance, s = sigma_grey.

    A high-pass whose gain falls where the local energy exceeds that of noise. Grey levels are
    taken relative to 128 and fractions by n, the number of pixels in the window, are cancelled:
    then for 8-bit pixels and a window of 5 everything up to the division is exact in float32, and
    the variance n sum(x^2) - sum(x)^2 does not suffer from cancellation.
    """

    def __init__(self, spec: SpectrumSpec) -> None:
        super().__init__()
        self.window_px = spec.window_px
        self.count = spec.window_px**2
        self.noise = spec.sigma_grey**2

    def forward(self, image: Tensor) -> Tensor:
        """Return the residual of `image`."""
        x, n, r = image - 128.0, self.count, self.window_px // 2
        padded = F.pad(x, (r, r, r, r), mode="reflect")
        total = window_sums(padded, self.window_px)
        energy = window_sums(padded * padded, self.window_px)
        power = energy * n - total * total + n * n * self.noise
        return (x * n - total) * (n * self.noise) / power


RESIDUAL_FILTERS: dict[ResidualFilter, Callable[[SpectrumSpec], nn.Module]] = {
    ResidualFilter.BILATERAL: BilateralResidual,
    ResidualFilter.WIENER: WienerResidual,
}
