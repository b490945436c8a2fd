"""Training the teacher: a latent diffusion model of the rendered pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from tokenizers import Tokenizer
from torch import Tensor, nn

from lineup_models.pocket.data import UINT8, drawn_caption, images_from_pixels
from lineup_models.pocket.generator import TIMESTEP_MAX, Generator, velocity_target
from lineup_models.pocket.text import tokens_from_texts
from lineup_models.pocket.vae import Vae
from lineup_models.training import LoopOptions, Task, average_of, follow, mixed_precision

ENCODED_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class TeacherOptions:
    """How the teacher is trained.

    Attributes:
        loop: Steps and learning rate.
        pictures: Pictures of a step.
        silent_share: Share that is trained without caption, for classifier-free guidance.
        average_decay: Of the running average of the weights, which is what counts in the end.
        noise_bias: Above 1 the noisier times are drawn more often: there it is decided what the
            picture shows.
        full_share: Share of captions that are the most detailed one.
        things_share: Share of the loss that is spread by `thing_weights` instead of evenly.
        bfloat16: Compute in bfloat16 where that is exact enough.
    """

    loop: LoopOptions = field(default_factory=lambda: LoopOptions(1500, 1e-3))
    pictures: int = 48
    silent_share: float = 0.1
    average_decay: float = 0.995
    noise_bias: float = 1.5
    full_share: float = 0.75
    things_share: float = 0.4
    bfloat16: bool = False


@torch.no_grad()
def latents_of_pictures(
    vae: Vae, pictures: UINT8, device: torch.device, *, bfloat16: bool = False
) -> Tensor:
    """Return scaled latents, float32 (N, C, rows, columns), on the CPU."""
    vae.eval().to(device)
    found = []
    for start in range(0, len(pictures), ENCODED_AT_ONCE):
        images = images_from_pixels(pictures[start : start + ENCODED_AT_ONCE], device)
        with mixed_precision(device, bfloat16=bfloat16):
            found.append(vae.latents_from_images(images).float().cpu())
    return torch.cat(found)


def thing_weights(latents: Tensor, share: float) -> Tensor:
    """Return a weight per cell, mean 1, that is large where there are things.

    Things cover a small part of a picture, and a short training on even weights learns nothing
    but places. Most places look the same along a row: what is far from the median of its row
    tends to be a thing.

    Args:
        latents: float32 (N, C, rows, columns), of clean pictures.
        share: Share of the weight that goes by the squared distance from the median.

    Returns:
        float32 (N, 1, rows, columns).
    """
    # By sorting: torch's median is not deterministic on GPUs.
    middle = (latents.shape[3] - 1) // 2
    distance = latents - latents.sort(dim=3).values[..., middle : middle + 1]
    square = distance.square().mean(dim=1, keepdim=True)
    relative = square / square.mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)
    return 1.0 - share + share * relative


class TeacherTask(Task):
    """Trains a diffusion model by the squared error of v.

    Args:
        teacher: Changed in place; `average` is what to use afterwards.
        latents: float32 (N, C, rows, columns), of the pictures, scaled.
        captions: Of each picture.
        tokenizer: Of the captions.
        options: How.
        seed: Of everything drawn.
        device: Where to compute.
    """

    def __init__(
        self,
        teacher: Generator,
        latents: Tensor,
        captions: tuple[tuple[str, ...], ...],
        tokenizer: Tokenizer,
        options: TeacherOptions,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        teacher.to(device).train().requires_grad_(True)
        self.teacher, self.average = teacher, average_of(teacher)
        modules = nn.ModuleDict({"model": teacher, "average": self.average})
        settings = {"teacher": asdict(teacher.spec), "options": asdict(options)}
        super().__init__("teacher", modules, settings)
        self.latents, self.captions, self.tokenizer = latents, captions, tokenizer
        self.options, self.seed, self.device = options, seed, device

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Return the mean squared error of v; a blind guess of 0 has about 1."""
        options = self.options
        random = np.random.default_rng([self.seed, step])
        rows = random.integers(len(self.latents), size=options.pictures)
        captions = [
            ""
            if random.random() < options.silent_share
            else drawn_caption(several, random, options.full_share)
            for several in (self.captions[row] for row in rows)
        ]
        latents = self.latents[torch.from_numpy(rows)]
        noise = torch.from_numpy(random.standard_normal(latents.shape, np.float32))
        # One time from each of equal intervals: a batch sees them all, its loss varies less.
        drawn = (np.arange(len(rows)) + random.random(len(rows))) / len(rows)
        biased = 1.0 - (1.0 - drawn) ** options.noise_bias
        time = torch.from_numpy(biased.astype(np.float32)).to(self.device)
        noisy, velocity = velocity_target(latents.to(self.device), noise.to(self.device), time)
        tokens = tokens_from_texts(self.tokenizer, captions).to(self.device)
        with mixed_precision(self.device, bfloat16=options.bfloat16):
            found = self.teacher(noisy, TIMESTEP_MAX * time, tokens)
        errors = F.mse_loss(found.float(), velocity, reduction="none")
        weights = thing_weights(latents.to(self.device), options.things_share)
        errors = (errors * weights).mean(dim=(1, 2, 3))
        parts = {"noisiest_half": errors[len(rows) // 2 :].mean().item()}
        return errors.mean(), parts

    def after_step(self, step: int) -> None:
        """Let the average follow."""
        follow(self.average, self.teacher, self.options.average_decay, step)
