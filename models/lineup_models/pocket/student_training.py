"""Training the one-step generators on the teacher's pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from lineup_models.pocket.data import UINT8, images_from_pixels, pixels_from_images
from lineup_models.pocket.generator import Generator
from lineup_models.pocket.pairs import Pairs
from lineup_models.pocket.teacher_training import thing_weights
from lineup_models.pocket.unet import TranslatedUNet
from lineup_models.pocket.vae import Vae
from lineup_models.pocket.vae_training import gradient_error
from lineup_models.simulator.losses import LocalSpectrumDistance
from lineup_models.training import LoopOptions, Task, average_of, follow, mixed_precision

TRAIN_TIMESTEPS = 1000
BETA_START, BETA_END = 0.00085, 0.012
"""The schedule of Stable Diffusion ("scaled_linear"), which its one-step descendants keep."""

FIRST_TIMESTEP = 999
LATER_TIMESTEPS = (749, 499, 249)
"""Where a run of up to four steps looks at the latents again."""


@dataclass(frozen=True, slots=True)
class StudentOptions:
    """How a generator is trained.

    Attributes:
        loop: Steps and learning rate.
        pictures: Pictures of a step.
        later_share: Share that is trained for the second to fourth step.
        decoded: Of how many pictures a part is decoded and compared as picture.
        crop_px: Side of that part.
        translation_steps: First steps, in which a translator learns alone to turn the teacher's
            latents of a picture into its own.
        pixel_weight: Weight of the error of the decoded part.
        spectrum_weight: Weight of the distance of its local spectra.
        things_share: Share of the error of the latents that is spread by `thing_weights`.
        average_decay: Of the running average of the weights, which is what counts in the end.
        bfloat16: Compute in bfloat16 where that is exact enough.
    """

    loop: LoopOptions = field(default_factory=lambda: LoopOptions(1000, 1.5e-3))
    pictures: int = 32
    later_share: float = 0.1
    translation_steps: int = 100
    decoded: int = 16
    crop_px: int = 64
    pixel_weight: float = 1.0
    spectrum_weight: float = 0.5
    things_share: float = 0.4
    average_decay: float = 0.99
    bfloat16: bool = False


def signal_shares() -> Tensor:
    """Return the share of the signal, squared, at every timestep; float32 (1000,)."""
    roots = torch.linspace(BETA_START**0.5, BETA_END**0.5, TRAIN_TIMESTEPS, dtype=torch.float64)
    return torch.cumprod(1.0 - roots.square(), dim=0).float()


class NoiseMap(nn.Module):
    """Makes a generator's noise of the teacher's, so that each knows what the other saw.

    The map is linear with orthonormal rows: noise of the teacher and extra noise, both unit
    normal, give unit normal noise. A latent of half the cell size is taken as four channels
    of the teacher's cells.

    Args:
        teacher: Autoencoder of the teacher.
        own: Autoencoder of the generator.
        seed: Of the orthogonal matrix.
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
        """Return the generator's noise.

        Args:
            noise: The teacher's, float32 (N, C, rows, columns).
            extra: float32 (N, `extra`, rows, columns).
        """
        joined = torch.cat([noise, extra], dim=1)
        mixed = torch.einsum("oc,nchw->nohw", self.matrix, joined)
        return F.pixel_shuffle(mixed, self.fold)


class StudentTask(Task):
    """Trains a generator to come to the teacher's picture in one step from the same noise.

    Args:
        name: Of the generator.
        generator: Changed in place; a text encoder that does not require gradients stays as it
            is. `average` is what to use afterwards.
        vae: Its autoencoder, frozen.
        noise_map: From the teacher's noise to its own.
        pairs: What the teacher drew.
        latents: The teacher's pictures as latents of `vae`, scaled.
        trunk_latents: The same as latents of the teacher's autoencoder.
        options: How.
        seed: Of everything drawn.
        device: Where to compute.
    """

    def __init__(
        self,
        name: str,
        generator: Generator,
        vae: Vae,
        noise_map: NoiseMap,
        pairs: Pairs,
        latents: Tensor,
        trunk_latents: Tensor,
        options: StudentOptions,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        generator.to(device).train()
        self.generator, self.average = generator, average_of(generator)
        modules = nn.ModuleDict({"model": generator, "average": self.average})
        settings = {"generator": asdict(generator.spec), "options": asdict(options)}
        super().__init__(name, modules, settings)
        self.vae, self.noise_map = vae.to(device).eval(), noise_map.to(device)
        self.pairs, self.latents, self.options = pairs, latents, options
        self.trunk_latents = trunk_latents
        self.seed, self.device = seed, device
        self.shares = signal_shares().to(device)
        self.spectrum = LocalSpectrumDistance().to(device)

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Return the error of the latents plus the weighted errors of a decoded part."""
        options, device = self.options, self.device
        random = np.random.default_rng([self.seed, step])
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

    def _found(
        self,
        step: int,
        rows: npt.NDArray[np.int64],
        wanted: Tensor,
        random: np.random.Generator,
    ) -> Tensor:
        """Return the latents that the generator, or at first its translator alone, comes to."""
        device, denoiser = self.device, self.generator.unet
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
        found: Tensor = self.generator(noisy, timestep.float(), tokens)
        return found

    def after_step(self, step: int) -> None:
        """Let the average follow."""
        follow(self.average, self.generator, self.options.average_decay, step)

    def _noise(self, rows: npt.NDArray[np.int64], random: np.random.Generator) -> Tensor:
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
        self,
        found: Tensor,
        rows: npt.NDArray[np.int64],
        random: np.random.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Return the errors of a part of the decoded pictures, the same place in all."""
        factor = self.vae.spec.factor
        cells, side = self.options.crop_px // factor, found.shape[-1]
        top, left = (int(place) for place in random.integers(0, side - cells, 2, endpoint=True))
        part = found[:, :, top : top + cells, left : left + cells]
        with mixed_precision(self.device, bfloat16=self.options.bfloat16):
            images = self.vae.images_from_latents(part).float()
        down, right, size = top * factor, left * factor, cells * factor
        pixels = self.pairs.pictures[rows, down : down + size, right : right + size]
        wanted = images_from_pixels(pixels, self.device)
        pixel = (images - wanted).abs().mean() + 0.5 * gradient_error(images, wanted)
        shift = tuple(int(place) for place in random.integers(0, 4, 2))
        return pixel, self.spectrum(images, wanted, (shift[0], shift[1]))


ONCE_AT_MOST = 8


@torch.no_grad()
def pictures_of_generator(
    generator: Generator, vae: Vae, noise: torch.Tensor, tokens: torch.Tensor
) -> UINT8:
    """Return what a generator draws in one step, uint8 (N, 256, 256, 3).

    Args:
        generator: In evaluation mode, on the CPU.
        vae: Its autoencoder.
        noise: float32 (N, C, rows, columns), unit normal.
        tokens: int64 (N, length).
    """
    share = (1.0 - signal_shares()[FIRST_TIMESTEP]).sqrt()
    found = []
    for start in range(0, len(noise), ONCE_AT_MOST):
        some = slice(start, start + ONCE_AT_MOST)
        timestep = torch.full((len(noise[some]),), float(FIRST_TIMESTEP))
        latents = generator(share * noise[some], timestep, tokens[some])
        found.append(pixels_from_images(vae.images_from_latents(latents)))
    return np.concatenate(found)
