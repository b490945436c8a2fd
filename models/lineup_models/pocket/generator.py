"""A generator as it is trained: text encoder and denoiser."""

from __future__ import annotations

from torch import Tensor, nn

from lineup_models.pocket.architectures import TEACHER_TEXT, GeneratorSpec
from lineup_models.pocket.text import TextEncoder
from lineup_models.pocket.unet import UNet


class Generator(nn.Module):
    """Text encoder and UNet; the autoencoder is trained and stored apart from them.

    Inputs `latents` (N, C, rows, columns), `timestep` (N,) 0..999 and `tokens` int64
    (N, length); output (N, C, rows, columns).
    """

    def __init__(self, spec: GeneratorSpec, words: int) -> None:
        super().__init__()
        self.spec = spec
        self.text_encoder = TextEncoder(spec.text or TEACHER_TEXT, words)
        self.unet = UNet(spec.unet)

    def forward(self, latents: Tensor, timestep: Tensor, tokens: Tensor) -> Tensor:
        """Return the prediction."""
        prediction: Tensor = self.unet(latents, timestep, self.text_encoder(tokens))
        return prediction
