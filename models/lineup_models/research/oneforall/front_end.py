"""What the extractor sees: log-spectra of images, and the whitening that photographs give."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from pathlib import Path

import numpy as np
from torch import nn

from lineup.imaging.decode import bytes_from_path, image_from_bytes
from lineup_models.fingerprint.covariance import FoundAxes, PrincipalAxes
from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.fingerprint.spectrum import PooledSpectrum
from lineup_models.research.oneforall.denoiser import DenoisedSpectrum, Denoiser
from lineup_models.simulator.crops import random_crop
from lineup_models.simulator.features import FeatureFunction


class ResidualSource(str, Enum):
    """What takes the content out of an image."""

    FILTER = "filter"
    """The closed-form filter of the spectrum's settings."""

    DENOISER = "denoiser"
    """The trained denoiser."""


def spectrum_module(spec: SpectrumSpec, denoiser: Denoiser | None) -> nn.Module:
    """Return the module from tiles to rows of log-spectra; frozen, in evaluation mode."""
    module = PooledSpectrum(spec) if denoiser is None else DenoisedSpectrum(denoiser, spec)
    return module.eval().requires_grad_(False)


def whitening_of_photographs(
    paths: Iterable[Path], spec: SpectrumSpec, features: FeatureFunction, *, seed: int
) -> FoundAxes:
    """Fit mean and principal axes on a random crop of each photograph.

    Args:
        paths: Photographs, none of them held out.
        spec: Constants of the spectrum.
        features: Images to rows.
        seed: Of the crops.
    """
    principal = PrincipalAxes(spec.dimension)
    for index, path in enumerate(paths):
        pixels = image_from_bytes(bytes_from_path(path)).pixels
        random = np.random.default_rng([seed, index])
        principal.add(features([random_crop(pixels, spec.tile_size_px, random)])[0])
    return principal.found(axes=spec.axes, floor=spec.floor)
