"""Diffusion of the teacher: cosine schedule, v-prediction, DDIM with guidance."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lineup_models.pocket.generator import Generator

TIMESTEP_MAX = 999.0


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """How the teacher draws a picture.

    Attributes:
        steps: Denoising steps.
        guidance: Scale of classifier-free guidance (Ho, Salimans 2022); 1 is none.
    """

    steps: int = 10
    guidance: float = 2.0


def signal_and_noise(time: Tensor) -> tuple[Tensor, Tensor]:
    """Return the shares of signal and noise at times 0..1 (cosine schedule)."""
    angle = time * (math.pi / 2)
    return torch.cos(angle), torch.sin(angle)


def velocity_target(latents: Tensor, noise: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
    """Return noisy latents and the v to be predicted (Salimans, Ho 2022), at `time` (N,)."""
    signal, share = (part[:, None, None, None] for part in signal_and_noise(time))
    return signal * latents + share * noise, signal * noise - share * latents


@torch.no_grad()
def latents_from_noise(
    teacher: Generator, noise: Tensor, tokens: Tensor, empty: Tensor, options: SamplingOptions
) -> Tensor:
    """Return the latents that DDIM (Song et al. 2021), without noise of its own, comes to.

    Args:
        teacher: Predicts v at timesteps 0..999.
        noise: float32 (N, C, rows, columns), unit normal.
        tokens: int64 (N, length), the captions.
        empty: int64 (1, length), the caption that says nothing.
        options: Steps and guidance.
    """
    count = len(noise)
    captions = torch.cat([tokens, empty.expand(count, -1)])
    states = teacher.text_encoder(captions)
    times = torch.linspace(1.0, 0.0, options.steps + 1, device=noise.device)
    found = noise
    for now, after in itertools.pairwise(times):
        timestep = (TIMESTEP_MAX * now).expand(2 * count)
        both = teacher.unet(torch.cat([found, found]), timestep, states).float()
        guided, unguided = both.chunk(2)
        velocity = unguided + options.guidance * (guided - unguided)
        signal, share = signal_and_noise(now)
        clean, rest = signal * found - share * velocity, share * found + signal * velocity
        signal, share = signal_and_noise(after)
        found = signal * clean + share * rest
    return found
