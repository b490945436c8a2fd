"""The pocket CLIP: image and text tower, compared by cosine (Radford et al. 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from lineup_models.pocket.blocks import TransformerBlock
from lineup_models.pocket.text import PAD, TextEncoder, TextEncoderSpec
from lineup_models.simulator.losses import local_fourier_bank

PATCH_PX = 16
SPECTRAL_BANDS = 16

WAVE_PX = 8
"""Side of the windows of the local spectrum."""

POWER_FLOOR = 1e-5
"""Keeps the logarithm finite where a picture is flat; below the power of sensor noise."""

LOG_POWER_MIDDLE = -5.0
"""Where the logarithms of most pictures lie, so that the class token starts near zero."""


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """Sizes of the pocket CLIP.

    Attributes:
        dimension: Of a patch's state.
        ratio: Width of the MLPs over `dimension`.
        stem: Channels of the convolutions that make the patches, without the last one's.
        embedding: Dimension in which pictures and captions meet.
        middle: The block whose CLS token is compared for style, counted from 1.
    """

    size_px: int = 256
    dimension: int = 192
    blocks: int = 6
    heads: int = 4
    ratio: int = 3
    stem: tuple[int, ...] = (24, 48)
    embedding: int = 128
    middle: int = 3
    text: TextEncoderSpec = field(default_factory=lambda: TextEncoderSpec(dimension=128))

    @property
    def patches(self) -> int:
        """Return the number of patches."""
        return (self.size_px // PATCH_PX) ** 2


class Patches(nn.Module):
    """Patches by a few convolutions (Xiao et al. 2021), and a class token that knows the texture.

    The class token starts with the picture's mean local spectrum: the logarithm of the power of
    windowed waves of each frequency. That is what pictures of one look have in common, and what a
    short training of the transformer alone does not find.

    Input float32 (N, 3, size_px, size_px); outputs (N, patches, dimension), (N, 1, dimension).
    """

    waves: Tensor

    def __init__(self, spec: ClipSpec) -> None:
        super().__init__()
        first, second = spec.stem
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, 7, stride=4, padding=3),
            nn.GELU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(second, spec.dimension, 3, stride=2, padding=1),
        )
        waves = local_fourier_bank(WAVE_PX)
        self.register_buffer("waves", waves, persistent=False)
        self.texture = nn.Linear(len(waves) // 2, spec.dimension)
        self.cls = nn.Parameter(0.02 * torch.randn(1, 1, spec.dimension))
        self.position = nn.Parameter(0.02 * torch.randn(spec.patches, spec.dimension))

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Return patches and class token."""
        patches = self.stem(pixel_values).flatten(2).transpose(1, 2) + self.position
        with torch.autocast(pixel_values.device.type, enabled=False):
            grey = pixel_values.float().mean(dim=1, keepdim=True)
            cosines, sines = F.conv2d(grey, self.waves, stride=WAVE_PX // 2).chunk(2, dim=1)
            power = (cosines.square() + sines.square()).mean(dim=(2, 3))
            spectrum = torch.log(power + POWER_FLOOR) - LOG_POWER_MIDDLE
        return patches, self.cls + self.texture(spectrum)[:, None]


class ImageTower(nn.Module):
    """Vision transformer with patches of 16 px.

    Input `pixel_values` float32 (N, 3, size_px, size_px); outputs `cls` (N, blocks, dimension),
    the raw CLS token after every block, and `embedding` (N, embedding), not normalised.
    """

    def __init__(self, spec: ClipSpec) -> None:
        super().__init__()
        self.spec = spec
        self.patches = Patches(spec)
        self.blocks = nn.ModuleList(
            TransformerBlock(spec.dimension, spec.heads, spec.ratio) for _ in range(spec.blocks)
        )
        self.norm = nn.LayerNorm(spec.dimension)
        self.projection = nn.Linear(spec.dimension, spec.embedding, bias=False)

    def forward(self, pixel_values: Tensor, kept: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return `cls` and `embedding`.

        Looking only at the patches with the numbers `kept` makes training faster (FLIP, Li et al.
        2023).
        """
        patches, token = self.patches(pixel_values)
        if kept is not None:
            patches = patches[:, kept]
        features = torch.cat([token, patches], dim=1)
        tokens = []
        for block in self.blocks:
            features = block(features)
            tokens.append(features[:, 0])
        return torch.stack(tokens, dim=1), self.projection(self.norm(tokens[-1]))


class ImageTowerCut(nn.Module):
    """The image tower up to its middle block; output `cls` (N, 1, dimension)."""

    def __init__(self, tower: ImageTower) -> None:
        super().__init__()
        self.patches = tower.patches
        self.blocks = nn.ModuleList(list(tower.blocks)[: tower.spec.middle])

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the CLS token after the last of the blocks."""
        patches, token = self.patches(pixel_values)
        features = torch.cat([token, patches], dim=1)
        for block in self.blocks:
            features = block(features)
        return features[:, :1]


class TextTower(nn.Module):
    """Text encoder, mean over the words, projection; int64 (N, length) to (N, embedding)."""

    def __init__(self, spec: ClipSpec, words: int) -> None:
        super().__init__()
        self.encoder = TextEncoder(spec.text, words)
        self.projection = nn.Linear(spec.text.dimension, spec.embedding, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the embedding, not normalised."""
        states = self.encoder(tokens)
        words = (tokens != PAD).sum(dim=1, keepdim=True)
        embedding: Tensor = self.projection(states.sum(dim=1) / words)
        return embedding


class Clip(nn.Module):
    """Both towers, and what only training needs: the temperature and the spectral head."""

    def __init__(self, spec: ClipSpec, words: int) -> None:
        super().__init__()
        self.spec = spec
        self.image_tower = ImageTower(spec)
        self.text_tower = TextTower(spec, words)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(10.0)))
        self.spectral = nn.Linear(spec.dimension, SPECTRAL_BANDS)

    def similarities(self, images: Tensor, captions: Tensor) -> Tensor:
        """Return scaled cosines (pictures, captions) of two sets of embeddings."""
        images = F.normalize(images.float(), dim=1)
        captions = F.normalize(captions.float(), dim=1)
        scale = self.log_temperature.clamp(max=math.log(100.0)).exp()
        return scale * images @ captions.T
