"""Simulated generators: an architecture, a set of weights, and statistics that go with both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lineup.types import Float32Array, RgbTiles
from lineup_models.photographs import images_from_pixels
from lineup_models.simulator.architecture import (
    Architecture,
    SearchSpace,
    architecture_from_seed,
)
from lineup_models.simulator.cells import Statistics
from lineup_models.simulator.network import (
    FeatureNoise,
    Simulator,
    noise_of_image,
    noise_strength_from_seed,
    perturbed_simulator,
)


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What makes a simulated generator the one it is.

    Attributes:
        weights: Name of the trained simulator its weights come from.
        perturbation_seed: Of the noise on them.
        architecture: Of its decoder.
    """

    weights: str
    perturbation_seed: int
    architecture: Architecture

    @property
    def id(self) -> str:
        """Return the id, e.g. "base/17/1-ne2.cangb"."""
        return f"{self.weights}/{self.perturbation_seed}/{self.architecture.id}"


def identity_from_seed(
    seed: int, index: int, weights: Sequence[str], space: SearchSpace
) -> ModelIdentity:
    """Draw generator number `index` of a run; the weight sets take turns."""
    architecture = architecture_from_seed([seed, index], space)
    return ModelIdentity(weights[index % len(weights)], index, architecture)


class SimulatedModel:
    """One generator: the same image always gives the same reconstruction.

    Args:
        simulators: Trained simulators by name.
        identity: Which generator to be.
        strength: Of the noise on the weights, in units of their spread; 0 leaves them.
        textured: Whether some generators, drawn by their seed, add noise to their features.
        calibration: Photographs that fix the batch norms' statistics, uint8 (N, H, W, 3).
        device: Where it runs.
    """

    def __init__(
        self,
        simulators: Mapping[str, Simulator],
        identity: ModelIdentity,
        *,
        strength: float,
        textured: bool = True,
        calibration: RgbTiles,
        device: str | torch.device = "cpu",
    ) -> None:
        self.identity = identity
        seed = identity.perturbation_seed
        self.noise = noise_strength_from_seed(seed) if textured else 0.0
        simulator = perturbed_simulator(simulators[identity.weights], seed, strength)
        self.simulator, self.device = simulator.to(device), device
        self.statistics: Statistics = {}
        self.decoded(calibration, None)

    def reconstructions(self, pixels: RgbTiles) -> RgbTiles:
        """Return the reconstructions of uint8 (N, H, W, 3), the same shape, rounded to uint8."""
        seed, strength = self.identity.perturbation_seed, self.noise
        # One by one: faster, since an image's features stay in the cache, and then the last bit
        # cannot depend on the batch either.
        return np.concatenate(
            [
                self.decoded(
                    image[None], noise_of_image(image, strength, seed) if strength else None
                )
                for image in pixels
            ]
        )

    def decoded(self, pixels: RgbTiles, noise: FeatureNoise | None) -> RgbTiles:
        """Return the reconstructions of a whole batch at once, with the same noise object."""
        with torch.inference_mode():
            images = images_from_pixels(pixels).to(self.device)
            decoded = self.simulator(images, self.identity.architecture, self.statistics, noise)
            rounded = (decoded * 255.0).round().clamp(0.0, 255.0).to(torch.uint8)
        return np.ascontiguousarray(rounded.permute(0, 2, 3, 1).cpu().numpy())


def psnr_db(reconstructions: RgbTiles, originals: RgbTiles) -> Float32Array:
    """Return the peak signal-to-noise ratio per image, float32 (N,), in dB."""
    difference = reconstructions.astype(np.float32) - originals.astype(np.float32)
    error = np.maximum((difference**2).mean(axis=(1, 2, 3)), 1e-6)
    return np.asarray(10.0 * np.log10(255.0**2 / error), np.float32)
