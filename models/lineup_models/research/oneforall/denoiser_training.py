"""Training the denoiser: photographs, Gaussian noise on top, the noise to be found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lineup_models.research.oneforall.denoiser import Denoiser
from lineup_models.research.oneforall.loop import LoopOptions, Task
from lineup_models.simulator.crops import crops_from_paths


@dataclass(frozen=True, slots=True)
class DenoiserOptions:
    """How the denoiser is trained.

    Attributes:
        loop: Steps and learning rate.
        crop_px: Side of the training crops.
        photographs_per_step: Photographs that are decoded for a step.
        crops_per_photograph: Crops of each, with noise of their own.
        sigma_min: Least noise, standard deviation in grey levels.
        sigma_max: Most noise; drawn log-uniformly per crop.
    """

    loop: LoopOptions = field(default_factory=lambda: LoopOptions(1500, 2e-3))
    crop_px: int = 64
    photographs_per_step: int = 4
    crops_per_photograph: int = 4
    sigma_min: float = 1.0
    sigma_max: float = 10.0


class DenoiserTask(Task):
    """Trains a denoiser.

    Args:
        denoiser: Changed in place.
        paths: Photographs.
        options: How.
        seed: Of crops and noise.
        device: Where to compute.
        settings: As for `Task`.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        paths: Sequence[Path],
        options: DenoiserOptions,
        *,
        seed: int,
        device: torch.device,
        settings: Mapping[str, Any],
    ) -> None:
        denoiser.to(device).train().requires_grad_(True)
        super().__init__("denoiser", denoiser, {**settings, "denoiser": asdict(options)})
        self.denoiser, self.paths, self.options = denoiser, paths, options
        self.seed, self.device = seed, device

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Return the squared error in units of each crop's noise variance; 1 for no denoising."""
        clean, noise, sigma = self._batch(step)
        found = self.denoiser(clean + noise)
        error = ((found - noise) / sigma).square().mean()
        return error, {"relative_error": error.item()}

    def _batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return clean crops and noise, (N, 3, size, size), and its deviation, (N, 1, 1, 1)."""
        options = self.options
        random = np.random.default_rng([self.seed, step])
        crops = training_crops(self.paths, options, random)
        clean = torch.from_numpy(crops).permute(0, 3, 1, 2).to(torch.float32)
        low, high = math.log(options.sigma_min), math.log(options.sigma_max)
        drawn = np.exp(random.uniform(low, high, (len(clean), 1, 1, 1))).astype(np.float32)
        sigma = torch.from_numpy(drawn)
        noise = torch.from_numpy(random.standard_normal(clean.shape, np.float32)) * sigma
        return clean.to(self.device), noise.to(self.device), sigma.to(self.device)


def training_crops(
    paths: Sequence[Path], options: DenoiserOptions, random: np.random.Generator
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return crops, uint8 (N, crop_px, crop_px, 3), several of each photograph.

    Decoding a photograph costs more than a step on a small crop, so a larger crop is drawn once
    and cut at random places.
    """
    size = options.crop_px
    larger = crops_from_paths(paths, 2 * size, options.photographs_per_step, random)
    crops = []
    for crop in larger:
        for top, left in random.integers(0, size, (options.crops_per_photograph, 2), endpoint=True):
            crops.append(crop[top : top + size, left : left + size])
    return np.stack(crops)
