"""A generator as it is trained: text encoder and denoiser, and the diffusion of the teacher.

Cosine schedule, v-prediction, DDIM with guidance.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lineup_models.pocket.architectures import TEACHER_TEXT, GeneratorSpec
from lineup_models.pocket.text import TextEncoder
from lineup_models.pocket.unet import TranslatedUNet, UNet


class Generator(nn.Module):
    """Text encoder and UNet; the autoencoder is trained and stored apart from them.

    Inputs `latents` (N, C, rows, columns), `timestep` (N,) 0..999 and `tokens` int64
    (N, length); output (N, C, rows, columns).
    """

    def __init__(self, spec: GeneratorSpec, words: int) -> None:
        super().__init__()
        self.spec = spec
        self.text_encoder = TextEncoder(spec.text or TEACHER_TEXT, words)
        self.unet: UNet | TranslatedUNet = (
            UNet(spec.unet)
            if spec.translator is None
            else TranslatedUNet(spec.unet, spec.translator)
        )

    @property
    def trunk(self) -> UNet:
        """Return the part of the denoiser that can start from a teacher."""
        return self.unet if isinstance(self.unet, UNet) else self.unet.trunk

    def forward(self, latents: Tensor, timestep: Tensor, tokens: Tensor) -> Tensor:
        """Return the prediction."""
        prediction: Tensor = self.unet(latents, timestep, self.text_encoder(tokens))
        return prediction


def take_over(trunk: UNet, teacher: UNet) -> None:
    """Copy into `trunk` what the teacher has of it, turned from v to pictures.

    Of nothing but noise the teacher predicts v = -picture; a one-step generator has to predict
    the picture. A residual block that the trunk lacks is left out.
    """
    own = trunk.state_dict()
    known = {name: value for name, value in teacher.state_dict().items() if name in own}
    trunk.load_state_dict(known)
    for parameter in trunk.output.parameters():
        parameter.data.neg_()


TIMESTEP_MAX = 999.0


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """How the teacher draws a picture; guidance is classifier-free (Ho, Salimans 2022), 1 none."""

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
