"""Noise on the decoder's features: where generators take detail from that their input lacks.

A decoder trained to reconstruct leaves out the detail it cannot know, so that its images have a
fraction of the fine texture of photographs or of generated images. Noise on the features gives
texture back and, unlike noise on the image, in the generator's own colours: it runs through the
same upsampling and convolutions that leave the fingerprint.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from lineup.types import RgbImage

STRENGTH_RANGE = (0.05, 1.0)
"""Of the generators that have noise, in units of the normalised features at half resolution."""

NOISELESS = 0.25
"""Share of generators without any."""


class FeatureNoise:
    """Gaussian noise of one image's decoding.

    Args:
        strength: Standard deviation at half resolution; halved with every coarser level, where it
            would move content rather than texture.
        seed: Of the noise.
    """

    def __init__(self, strength: float, seed: int) -> None:
        self.strength = strength
        self.generator = torch.Generator().manual_seed(seed)

    def added_to(self, features: Tensor, level: int) -> Tensor:
        """Return `features` of `level`, 1 to 3, with noise."""
        noise = torch.randn(features.shape, generator=self.generator).to(features.device)
        return torch.add(features, noise, alpha=self.strength / 2 ** (level - 1))


def noise_strength_from_seed(seed: int) -> float:
    """Draw the noise of a generator: none, or log-uniform over `STRENGTH_RANGE`."""
    random = np.random.default_rng([seed, 3])
    if random.random() < NOISELESS:
        return 0.0
    low, high = np.log(STRENGTH_RANGE)
    return float(np.exp(random.uniform(low, high)))


def noise_of_image(pixels: RgbImage, strength: float, seed: int) -> FeatureNoise:
    """Return the noise that a generator adds to an image: fixed by its seed and the pixels."""
    digest = hashlib.sha256(seed.to_bytes(8, "little") + np.ascontiguousarray(pixels).tobytes())
    return FeatureNoise(strength, int.from_bytes(digest.digest()[:7], "little"))
