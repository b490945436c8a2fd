"""The constants of the fingerprint, recorded wherever the fit or the graph goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

import msgspec

from lineup.errors import BundleFormatError, UsageError

LATTICE_DIMENSION = 81
"""Contrasts at 9 x 9 multiples of 1/16 of the sampling frequency."""

TEXTURE_DIMENSION = 408
"""Shares of patterns of neighbouring pixels; see `texture.Texture`."""


class ResidualFilter(str, Enum):
    """What separates noise from content; each is a module in `residual.RESIDUAL_FILTERS`."""

    BILATERAL = "bilateral"
    """Minus an edge-preserving mean over a disc, each channel on its own."""

    WIENER = "wiener"
    """Minus the window's mean, damped where the local energy exceeds that of noise."""


class ChannelMean(str, Enum):
    """Where the three colour channels become one: the later, the more work."""

    PIXELS = "pixels"
    """One grey image, one residual, one spectrum."""

    RESIDUALS = "residuals"
    """A residual per channel, their mean, one spectrum."""

    SPECTRA = "spectra"
    """A residual and a log-spectrum per channel, their mean."""


@dataclass(frozen=True, slots=True)
class SpectrumSpec:
    """Constants of the spectrum, and of the whitening of spectrum and texture.

    Attributes:
        tile_size_px: Side of the square tiles; a multiple of 16.
        residual: Which residual filter.
        channel_mean: What is averaged over the colour channels.
        window_px: Side (or diameter) of the residual filter's neighbourhood; odd.
        sigma_grey: Contrast, in grey levels of 0..255, below which the residual filter smooths.
        sigma_space_px: Standard deviation of the spatial weights (bilateral filter only).
        pool_height: Rows of the pooled log-spectrum.
        pool_width: Columns of the pooled log-spectrum (of the half plane).
        axes: How many principal axes of spectrum and of texture each are whitened one by one; 0
            keeps all the fit yields.
        floor: Variance added to each axis, in multiples of the median variance.
    """

    tile_size_px: int = 256
    residual: ResidualFilter = ResidualFilter.WIENER
    channel_mean: ChannelMean = ChannelMean.RESIDUALS
    window_px: int = 5
    sigma_grey: float = 10.0
    sigma_space_px: float = 2.0
    pool_height: int = 96
    pool_width: int = 48
    axes: int = 128
    floor: float = 10.0

    def __post_init__(self) -> None:
        size, window = self.tile_size_px, self.window_px
        checks = (
            ("tile_size_px", size >= 16 and size % 16 == 0, "a multiple of 16"),
            ("window_px", 3 <= window < size and window % 2 == 1, "odd, 3 to the tile size"),
            ("sigma_grey", self.sigma_grey > 0, "positive"),
            ("sigma_space_px", self.sigma_space_px > 0, "positive"),
            ("pool_height", 1 <= self.pool_height <= size, "1 to the tile size"),
            (
                "pool_width",
                1 <= self.pool_width <= size // 2 + 1,
                "1 to half the tile size plus one",
            ),
            ("axes", self.axes >= 0, "0 (all) or more"),
            ("floor", self.floor > 0, "positive"),
        )
        for name, holds, expected in checks:
            if not holds:
                raise UsageError(
                    f"The spectrum setting {name} is {getattr(self, name)}; expected {expected}."
                )

    @property
    def dimension(self) -> int:
        """Length of the pooled spectrum."""
        return self.pool_height * self.pool_width

    @property
    def fingerprint_dimension(self) -> int:
        """Length of the fingerprint: spectrum, then texture."""
        return self.dimension + TEXTURE_DIMENSION


def spectrum_to_dict(spec: SpectrumSpec) -> dict[str, Any]:
    """Return the spec as plain JSON values."""
    raw: dict[str, Any] = msgspec.to_builtins(spec)
    return raw


def spectrum_from_dict(raw: Mapping[str, Any]) -> SpectrumSpec:
    """Return the spec that `spectrum_to_dict` wrote.

    Raises:
        BundleFormatError: A field is missing, unknown or of an impossible value.
    """
    names = {item.name for item in fields(SpectrumSpec)}
    if set(raw) != names:
        wrong = ", ".join(sorted(names ^ set(raw)))
        raise BundleFormatError(
            f"The spectrum settings lack or do not know: {wrong}.",
            hint="Fit the whitening again with this version: lineup train whitening --help",
        )
    try:
        return msgspec.convert(raw, SpectrumSpec)
    except msgspec.ValidationError as error:
        raise BundleFormatError(f"The spectrum settings cannot be used: {error}") from error
