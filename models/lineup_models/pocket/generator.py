"""A generator as it is trained: text encoder and denoiser."""

from __future__ import annotations

from torch import Tensor, nn

from lineup_models.pocket.architectures import TEACHER_TEXT, GeneratorSpec
from lineup_models.pocket.text import TextEncoder
from lineup_models.pocket.translation import TranslatedUNet
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
