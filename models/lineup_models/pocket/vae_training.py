"""Training the autoencoders on crops of the rendered pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from lineup_models.pictures import write_sheet
from lineup_models.pocket.data import (
    UINT8,
    images_from_pixels,
    pixels_from_images,
    random_crops,
)
from lineup_models.pocket.presets import VaeOptions
from lineup_models.pocket.run import SHOWN, Run, StageTask
from lineup_models.pocket.vae import Vae
from lineup_models.simulator.losses import LocalSpectrumDistance
from lineup_models.training import mixed_precision

STATISTICS_PICTURES = 128


def train_vae(run: Run, name: str) -> dict[str, Any]:
    """Train an autoencoder; return losses and PSNR of some held-out pictures."""
    preset, step = run.preset, f"vae-{name}"
    steps = preset.vae_steps.get(name, preset.vae.loop.steps)
    options = replace(preset.vae, loop=replace(preset.vae.loop, steps=steps))
    vae = run.new(step, lambda: Vae(preset.vaes[name]))
    pictures, shown = run.world().pictures, run.world("held-out").pictures[:SHOWN]
    figures = run.trained(VaeTask(run, step, vae, pictures, options), options.loop)
    stored = run.vae(name)
    with torch.no_grad():
        again = pixels_from_images(stored.decoder(stored.encoder(images_from_pixels(shown))))
    write_sheet(run.output / "sheets" / f"{step}.png", [shown, again])
    error = np.mean((shown.astype(np.float64) - again.astype(np.float64)) ** 2)
    return {**figures, "psnr_db": round(float(10.0 * np.log10(255.0**2 / error)), 2)}


class VaeTask(StageTask[Vae]):
    """Trains an autoencoder: L1, gradients, local spectra, a little KL (Kingma, Welling 2014)."""

    def __init__(self, run: Run, name: str, vae: Vae, pictures: UINT8, options: VaeOptions) -> None:
        super().__init__(run, name, vae)
        self.pictures, self.options = pictures, options
        self.spectrum = LocalSpectrumDistance().to(run.device)

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Return the weighted sum of the parts."""
        options = self.options
        random = self.random(step)
        size, count = options.crop_px, options.crops
        if step >= (1.0 - options.late_share) * options.loop.steps:
            size, count = 2 * size, max(count // 4, 1)
        crops = random_crops(self.pictures, count, size, random)
        images = images_from_pixels(permuted_colours(crops, random), self.device)
        generator = torch.Generator().manual_seed(int(random.integers(2**62)))
        with mixed_precision(self.device, bfloat16=options.bfloat16):
            mean, log_variance = (part.float() for part in self.model.encoder.posterior(images))
            noise = torch.randn(mean.shape, generator=generator).to(self.device)
            found = self.model.decoder(mean + noise * torch.exp(0.5 * log_variance)).float()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean()
        absolute, gradient = (found - images).abs().mean(), gradient_error(found, images)
        spectrum = self.spectrum(found, images, random.integers(0, 4, 2).tolist())
        colour = colour_error(found, images)
        total = absolute + options.gradient_weight * gradient + options.kl_weight * kl
        total = total + options.spectrum_weight * spectrum + options.colour_weight * colour
        parts = {"absolute": absolute, "gradient": gradient, "spectrum": spectrum, "kl": kl}
        parts["colour"] = colour
        return total, {name: part.item() for name, part in parts.items()}

    @torch.no_grad()
    def finished(self) -> Vae:
        """Return the autoencoder, which knows mean and variance of the latents of some pictures."""
        vae, few = self.model.eval(), self.pictures[:STATISTICS_PICTURES]
        latents = torch.cat(
            [
                vae.encoder(images_from_pixels(few[start : start + 8], self.device))
                for start in range(0, len(few), 8)
            ]
        )
        vae.set_statistics(latents.mean().item(), latents.var().item())
        return vae


def permuted_colours(crops: UINT8, random: np.random.Generator) -> UINT8:
    """Return crops, every second with its red, green and blue in another order.

    The world has more blue and brown than other colours; the latents are to have room for all.
    """
    found: UINT8 = crops.copy()
    for row in range(0, len(crops), 2):
        found[row] = crops[row][..., random.permutation(3)]
    return found


def gradient_error(images: Tensor, reference: Tensor) -> Tensor:
    """Return the mean absolute error of differences between neighbours, at two scales."""
    errors = [
        difference.diff(dim=2).abs().mean() + difference.diff(dim=3).abs().mean()
        for difference in (images - reference, F.avg_pool2d(images - reference, 2))
    ]
    return torch.stack(errors).mean()


def colour_error(images: Tensor, reference: Tensor) -> Tensor:
    """Return the mean absolute error of red - green and blue - green in cells of 8 px."""
    means = F.avg_pool2d(images - reference, 8)
    return (means[:, [0, 2]] - means[:, 1:2]).abs().mean()
