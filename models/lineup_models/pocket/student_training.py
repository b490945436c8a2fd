"""Training the one-step generators on the teacher's pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from lineup_models.pictures import write_sheet
from lineup_models.pocket.architectures import SIZE_PX
from lineup_models.pocket.data import images_from_pixels, pixels_from_images
from lineup_models.pocket.generator import Generator, take_over
from lineup_models.pocket.registry import load_generator, words
from lineup_models.pocket.run import SHOWN, Run, StageTask
from lineup_models.pocket.teacher_training import read_pairs, stored_latents, thing_weights
from lineup_models.pocket.text import tokens_from_texts
from lineup_models.pocket.unet import TranslatedUNet
from lineup_models.pocket.vae import Vae
from lineup_models.pocket.vae_training import gradient_error
from lineup_models.simulator.losses import LocalSpectrumDistance
from lineup_models.training import mixed_precision

TRAIN_TIMESTEPS = 1000
BETA_START, BETA_END = 0.00085, 0.012
"""The schedule of Stable Diffusion ("scaled_linear"), which its one-step descendants keep."""

FIRST_TIMESTEP = 999
LATER_TIMESTEPS = (749, 499, 249)
"""Where a run of up to four steps looks at the latents again."""


Rows = npt.NDArray[np.int64]
"""Numbers of pairs."""


def train_student(run: Run, name: str) -> dict[str, Any]:
    """Distil a generator; return losses."""
    figures = run.trained(StudentTask(run, name), run.preset.student.loop)
    _show(run, name)
    return figures


def _new_student(run: Run, name: str, teacher: Generator) -> Generator:
    """Return a generator that knows of the teacher what it can take over."""
    spec, text = run.preset.generators[name], run.preset.teacher_spec.text
    full = replace(spec, text=spec.text or text)
    generator = run.new(name, lambda: Generator(full, words()))
    if full.text == text:
        generator.text_encoder.load_state_dict(teacher.text_encoder.state_dict())
    if spec.text is None:
        generator.text_encoder.requires_grad_(False)
    if spec.from_teacher:
        take_over(generator.trunk, teacher.trunk)
    return generator


@torch.no_grad()
def _show(run: Run, name: str) -> None:
    """Write pictures of a generator, below what the rendered ones with the captions are."""
    world, generator = run.world("held-out"), load_generator(run.output, name)
    vae, rows = run.vae(generator.spec.vae), [world.pictures[:SHOWN]]
    prompts = [several[0] for several in world.captions[:SHOWN]]
    tokens = tokens_from_texts(run.tokenizer(), prompts)
    share = (1.0 - signal_shares()[FIRST_TIMESTEP]).sqrt()
    timestep = torch.full((len(tokens),), float(FIRST_TIMESTEP))
    for number in range(2):
        seeded = torch.Generator().manual_seed(number)
        noise = torch.randn((len(tokens), *vae.spec.latent_shape(SIZE_PX)), generator=seeded)
        latents = generator(share * noise, timestep, tokens)
        rows.append(pixels_from_images(vae.images_from_latents(latents)))
    write_sheet(run.output / "sheets" / f"{name}.png", rows)


def signal_shares() -> Tensor:
    """Return the share of the signal, squared, at every timestep; float32 (1000,)."""
    roots = torch.linspace(BETA_START**0.5, BETA_END**0.5, TRAIN_TIMESTEPS, dtype=torch.float64)
    return torch.cumprod(1.0 - roots.square(), dim=0).float()


class NoiseMap(nn.Module):
    """Makes a generator's noise of the teacher's, so that each knows what the other saw.

    The map is linear with orthonormal rows: noise of the teacher and extra noise, both unit
    normal, give unit normal noise. A latent of half the cell size is taken as four channels
    of the teacher's cells.

    Made of the autoencoders of the teacher and of the generator.
    """

    matrix: Tensor

    def __init__(self, teacher: Vae, own: Vae, seed: int) -> None:
        super().__init__()
        self.fold = teacher.spec.factor // own.spec.factor
        channels = own.spec.latent_channels * self.fold**2
        self.extra = max(channels - teacher.spec.latent_channels, 0)
        assert self.fold >= 1
        generator = torch.Generator().manual_seed(seed)
        size = max(channels, teacher.spec.latent_channels)
        drawn = torch.randn(size, size, generator=generator)
        # Orthonormal rows: where the generator has fewer channels, some of the noise is lost.
        self.register_buffer("matrix", torch.linalg.qr(drawn)[0][:channels])

    def forward(self, noise: Tensor, extra: Tensor) -> Tensor:
        """Return the generator's noise of the teacher's and of (N, `extra`, rows, columns)."""
        joined = torch.cat([noise, extra], dim=1)
        mixed = torch.einsum("oc,nchw->nohw", self.matrix, joined)
        return F.pixel_shuffle(mixed, self.fold)


class StudentTask(StageTask[Generator]):
    """Trains a generator to come to the teacher's picture in one step from the same noise."""

    def __init__(self, run: Run, name: str) -> None:
        preset, self.options = run.preset, run.preset.student
        own, of_teacher = preset.generators[name].vae, preset.teacher_spec.vae
        self.pairs, self.vae = read_pairs(run.output / "pairs"), run.vae(own)
        teacher_vae, teacher = run.vae(of_teacher), run.teacher()
        noise_map = NoiseMap(teacher_vae, self.vae, run.seed_of(f"noise-{name}"))
        generator = _new_student(run, name, teacher)
        if isinstance(generator.unet, TranslatedUNet):
            generator.unet.take_noise_as_teacher(noise_map.matrix)
        super().__init__(run, name, generator, average_decay=self.options.average_decay)
        self.latents, self.trunk_latents = (
            stored_latents(run, f"pairs-{vae}", vae, self.pairs.pictures)
            for vae in (own, of_teacher)
        )
        self.vae.to(run.device)
        self.noise_map = noise_map.to(run.device)
        self.shares = signal_shares().to(run.device)
        self.spectrum = LocalSpectrumDistance().to(run.device)

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Return the error of the latents plus the weighted errors of a decoded part."""
        options, device = self.options, self.device
        random = self.random(step)
        rows = random.choice(len(self.latents), options.pictures, replace=False)
        wanted = self.latents[torch.from_numpy(rows)].to(device)
        with mixed_precision(device, bfloat16=options.bfloat16):
            found = self._found(step, rows, wanted, random).float()
        weights = thing_weights(wanted, options.things_share)
        absolute = ((found - wanted).abs() * weights).mean()
        some = options.decoded
        pixel, spectrum = self._picture_errors(found[:some], rows[:some], random)
        total = absolute + options.pixel_weight * pixel + options.spectrum_weight * spectrum
        parts = {"absolute": absolute, "pixel": pixel, "spectrum": spectrum}
        return total, {name: part.item() for name, part in parts.items()}

    def _found(self, step: int, rows: Rows, wanted: Tensor, random: np.random.Generator) -> Tensor:
        """Return the latents that the generator, or at first its translator alone, comes to."""
        device, denoiser = self.device, self.model.unet
        if step < self.options.translation_steps and isinstance(denoiser, TranslatedUNet):
            translated: Tensor = denoiser.translator(
                self.trunk_latents[torch.from_numpy(rows)].to(device)
            )
            return translated
        tokens = torch.from_numpy(self.pairs.tokens[rows]).to(device)
        noise, timestep = self._noise(rows, random), self._timesteps(random)
        share = self.shares[timestep][:, None, None, None]
        # At the first timestep there is nothing but noise, as the scheduler will have it.
        signal = torch.where(timestep == FIRST_TIMESTEP, 0.0, share.flatten().sqrt())
        noisy = signal[:, None, None, None] * wanted + (1.0 - share).sqrt() * noise
        found: Tensor = self.model(noisy, timestep.float(), tokens)
        return found

    def _noise(self, rows: Rows, random: np.random.Generator) -> Tensor:
        noise = torch.from_numpy(np.array(self.pairs.noise[rows]))
        shape = (len(rows), self.noise_map.extra, *noise.shape[2:])
        extra = torch.from_numpy(random.standard_normal(shape, np.float32))
        mapped: Tensor = self.noise_map(noise.to(self.device), extra.to(self.device))
        return mapped

    def _timesteps(self, random: np.random.Generator) -> Tensor:
        options = self.options
        later = random.random(options.pictures) < options.later_share
        chosen = np.where(later, random.choice(LATER_TIMESTEPS, options.pictures), FIRST_TIMESTEP)
        return torch.from_numpy(chosen).to(self.device)

    def _picture_errors(
        self, found: Tensor, rows: Rows, random: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the errors of a part of the decoded pictures, the same place in all."""
        factor = self.vae.spec.factor
        cells, side = self.options.crop_px // factor, found.shape[-1]
        top, left = random.integers(0, side - cells, 2, endpoint=True).tolist()
        part = found[:, :, top : top + cells, left : left + cells]
        with mixed_precision(self.device, bfloat16=self.options.bfloat16):
            images = self.vae.images_from_latents(part).float()
        down, right, size = top * factor, left * factor, cells * factor
        pixels = self.pairs.pictures[rows, down : down + size, right : right + size]
        wanted = images_from_pixels(pixels, self.device)
        pixel = (images - wanted).abs().mean() + 0.5 * gradient_error(images, wanted)
        return pixel, self.spectrum(images, wanted, random.integers(0, 4, 2).tolist())
