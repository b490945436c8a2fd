"""Denoisers that work in the teacher's latents and speak in those of another autoencoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from lineup_models.pocket.blocks import (
    Activation,
    BlockKind,
    NormKind,
    ResidualBlock,
    UpKind,
    Upsample,
    activation_from_kind,
    norm_from_kind,
)
from lineup_models.pocket.unet import UNet, UNetSpec


@dataclass(frozen=True, slots=True)
class TranslatorSpec:
    """Architecture of what comes before and after the denoiser's trunk.

    Attributes:
        latent_channels: Channels of the generator's own latents.
        fold: Own latent cells per cell of the trunk and side: 1 or 2.
        widths: Channels at the trunk's resolution and at the own one.
        blocks: Residual blocks there.
        up: How features are enlarged between the two, where `fold` is 2.
        norm: Normalisation.
        block: Kind of the residual blocks.
        activation: Non-linearity.
    """

    latent_channels: int
    fold: int
    widths: tuple[int, int]
    blocks: tuple[int, int]
    up: UpKind = UpKind.NEAREST
    norm: NormKind = NormKind.GROUP
    block: BlockKind = BlockKind.PLAIN
    activation: Activation = Activation.SILU


class Translator(nn.Module):
    """Turns the trunk's latents into the generator's own.

    Input float32 (N, C, rows, columns); output (N, own C, fold rows, fold columns).
    """

    def __init__(self, spec: TranslatorSpec, inputs: int) -> None:
        super().__init__()
        coarse, fine = spec.widths
        layers: list[nn.Module] = [nn.Conv2d(inputs, coarse, 3, padding=1)]
        layers += [self._block(spec, coarse) for _ in range(spec.blocks[0])]
        if spec.fold == 2:
            layers.append(Upsample(spec.up, coarse, fine))
        else:
            layers.append(nn.Conv2d(coarse, fine, 3, padding=1))
        layers += [self._block(spec, fine) for _ in range(spec.blocks[1])]
        layers += [norm_from_kind(spec.norm, fine), activation_from_kind(spec.activation)]
        layers.append(nn.Conv2d(fine, spec.latent_channels, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    @staticmethod
    def _block(spec: TranslatorSpec, width: int) -> nn.Module:
        return ResidualBlock(spec.block, width, width, spec.norm, spec.activation)

    def forward(self, latents: Tensor) -> Tensor:
        """Return the own latents."""
        found: Tensor = self.layers(latents)
        return found


class TranslatedUNet(nn.Module):
    """A denoiser whose trunk can start from the teacher, with the signature of a `UNet`.

    Inputs and output have the generator's own latents: a linear layer brings them to the trunk's
    shape, a translator brings back what the trunk finds.
    """

    def __init__(self, trunk: UNetSpec, spec: TranslatorSpec) -> None:
        super().__init__()
        self.fold = spec.fold
        self.entry = nn.Conv2d(spec.latent_channels * spec.fold**2, trunk.latent_channels, 1)
        self.trunk = UNet(trunk)
        self.translator = Translator(spec, trunk.latent_channels)

    def take_noise_as_teacher(self, matrix: Tensor) -> None:
        """Let the first layer undo a noise map: the trunk sees the teacher's noise.

        Args:
            matrix: Of the `NoiseMap`, float32 (own channels, at least the trunk's channels).
        """
        with torch.no_grad():
            self.entry.weight.copy_(matrix[:, : self.entry.out_channels].T[:, :, None, None])
            self.entry.bias.zero_()  # type: ignore[union-attr]

    def forward(self, latents: Tensor, timestep: Tensor, text_states: Tensor) -> Tensor:
        """Return the prediction."""
        entered = self.entry(F.pixel_unshuffle(latents, self.fold))
        found: Tensor = self.translator(self.trunk(entered, timestep, text_states))
        return found
