"""Batches made on the spot: no generator and no crop comes twice, at the price of its making."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lineup.imaging.decode import bytes_from_path, image_from_bytes
from lineup.types import RgbImage, RgbTiles
from lineup_models.research.oneforall.sampling import BatchShape, draw_from_seed
from lineup_models.research.oneforall.source import Batch
from lineup_models.simulator.crops import images_from_pixels, random_crop
from lineup_models.simulator.degradation import degradation_from_seed, degraded_image
from lineup_models.simulator.features import FeatureFunction
from lineup_models.simulator.identity import ModelIdentity, identity_from_seed
from lineup_models.simulator.network import Simulator
from lineup_models.simulator.noise import FeatureNoise, noise_strength_from_seed
from lineup_models.simulator.norm_statistics import FixedStatistics, RecordedStatistics
from lineup_models.simulator.weights import perturbed_simulator

CALIBRATION_PX = 128
CALIBRATION_IMAGES = 4


@dataclass(frozen=True, slots=True)
class OnlineOptions:
    """What batches are made of.

    Attributes:
        models: Generators to draw from.
        size_px: Side of the crops, a multiple of 8.
        strength: Noise on each generator's weights, in units of their spread.
        degraded_share: Probability that an image is degraded.
    """

    models: int = 100_000
    size_px: int = 256
    strength: float = 0.1
    degraded_share: float = 0.4


class OnlineSource:
    """Runs photographs through simulated generators as they are asked for.

    Args:
        simulators: Trained simulators by name.
        paths: Photographs.
        features: Images to rows.
        options: What batches are made of.
        seed: Of the generators.
        device: Where the simulators run.
    """

    def __init__(
        self,
        simulators: Mapping[str, Simulator],
        paths: Sequence[Path],
        features: FeatureFunction,
        options: OnlineOptions,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        self.simulators, self.paths, self.features = simulators, paths, features
        self.options, self.seed, self.device = options, seed, device
        drawn = np.random.default_rng([seed, 0]).integers(len(paths), size=CALIBRATION_IMAGES)
        calibration = [self._crop(int(index), [seed, 1], CALIBRATION_PX) for index in drawn]
        self.calibration = images_from_pixels(np.stack(calibration)).to(device)

    def batch(self, seed: Sequence[int], shape: BatchShape) -> Batch:
        """Return the batch of `seed`."""
        options = self.options
        draw = draw_from_seed(seed, shape, models=options.models, photographs=len(self.paths))
        images: list[RgbImage] = []
        for model, numbers in zip(draw.models, draw.images, strict=True):
            crops = np.stack([self._crop(number, seed, options.size_px) for number in numbers])
            images.extend(self.reconstructions(model, crops, seed))
        images += [self._crop(number, seed, options.size_px) for number in draw.photographs]
        labels = np.concatenate(
            [
                np.repeat(draw.models, shape.images_per_model),
                options.models + np.arange(shape.photographs),
            ]
        )
        through = shape.models * shape.images_per_model
        return Batch(
            rows=torch.from_numpy(self.features(self._degraded(images, seed))),
            labels=torch.from_numpy(labels.astype(np.int64)),
            generated=torch.arange(len(labels)) < through,
        )

    def identity(self, model: int) -> ModelIdentity:
        """Return which generator `model` is: weights, noise on them, architecture."""
        space = next(iter(self.simulators.values())).space
        return identity_from_seed(self.seed, model, list(self.simulators), space)

    def reconstructions(self, model: int, crops: RgbTiles, seed: Sequence[int]) -> RgbTiles:
        """Return what generator `model` makes of `crops`, the same shape, rounded to uint8."""
        identity = self.identity(model)
        number = identity.perturbation_seed
        simulator = perturbed_simulator(
            self.simulators[identity.weights], number, self.options.strength
        ).to(self.device)
        strength = noise_strength_from_seed(number)
        drawn = int(np.random.default_rng([*seed, 4, model]).integers(1 << 62))
        noise = FeatureNoise(strength, drawn) if strength else None
        recording = RecordedStatistics()
        with torch.inference_mode():
            simulator(self.calibration, identity.architecture, recording)
            fixed = FixedStatistics(recording.recorded)
            images = images_from_pixels(crops).to(self.device)
            decoded: Tensor = simulator(images, identity.architecture, fixed, noise)
            rounded = (decoded * 255.0).round().clamp(0.0, 255.0).to(torch.uint8)
        return np.ascontiguousarray(rounded.permute(0, 2, 3, 1).cpu().numpy())

    def _crop(self, photograph: int, seed: Sequence[int], size_px: int) -> RgbImage:
        pixels = image_from_bytes(bytes_from_path(self.paths[photograph])).pixels
        return random_crop(pixels, size_px, np.random.default_rng([*seed, 5, photograph]))

    def _degraded(self, images: Sequence[RgbImage], seed: Sequence[int]) -> list[RgbImage]:
        chosen = np.random.default_rng([*seed, 6]).random(len(images))
        return [
            degraded_image(image, degradation_from_seed([*seed, 7, position]))
            if chosen[position] < self.options.degraded_share
            else image
            for position, image in enumerate(images)
        ]
