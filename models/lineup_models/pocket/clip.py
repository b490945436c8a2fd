"""The pocket CLIP: image and text tower, compared by cosine (Radford et al. 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from lineup_models.pocket.attention import TransformerBlock
from lineup_models.pocket.text import PAD, TextEncoder, TextEncoderSpec

PATCH_PX = 16
SPECTRAL_BANDS = 16


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """Sizes of the pocket CLIP.

    Attributes:
        size_px: Side of the pictures.
        dimension: Of a patch's state.
        blocks: Transformer blocks of the image tower.
        heads: Attention heads.
        ratio: Width of the MLPs over `dimension`.
        stem: Channels of the convolutions that make the patches, without the last one's.
        embedding: Dimension in which pictures and captions meet.
        middle: The block whose CLS token is compared for style, counted from 1.
        text: Sizes of the text tower.
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


class ImageTower(nn.Module):
    """Vision transformer with patches of 16 px that a few convolutions make (Xiao et al. 2021).

    Input `pixel_values` float32 (N, 3, size_px, size_px); outputs `cls` (N, blocks, dimension),
    the raw CLS token after every block, and `embedding` (N, embedding), not normalised.
    """

    def __init__(self, spec: ClipSpec) -> None:
        super().__init__()
        self.spec = spec
        first, second = spec.stem
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, 7, stride=4, padding=3),
            nn.GELU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(second, spec.dimension, 3, stride=2, padding=1),
        )
        self.cls = nn.Parameter(0.02 * torch.randn(1, 1, spec.dimension))
        self.position = nn.Parameter(0.02 * torch.randn(spec.patches, spec.dimension))
        self.blocks = nn.ModuleList(
            TransformerBlock(spec.dimension, spec.heads, spec.ratio) for _ in range(spec.blocks)
        )
        self.norm = nn.LayerNorm(spec.dimension)
        self.projection = nn.Linear(spec.dimension, spec.embedding, bias=False)

    def forward(self, pixel_values: Tensor, kept: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return `cls` and `embedding`.

        Args:
            pixel_values: The pictures.
            kept: int64, numbers of the patches to look at; None for all. Leaving patches out
                makes training faster (FLIP, Li et al. 2023).
        """
        patches = self.stem(pixel_values).flatten(2).transpose(1, 2) + self.position
        if kept is not None:
            patches = patches[:, kept]
        features = torch.cat([self.cls.expand(patches.shape[0], -1, -1), patches], dim=1)
        tokens = []
        for block in self.blocks:
            features = block(features)
            tokens.append(features[:, 0])
        return torch.stack(tokens, dim=1), self.projection(self.norm(tokens[-1]))


class ImageTowerCut(nn.Module):
    """The image tower up to its middle block; output `cls` (N, 1, dimension)."""

    def __init__(self, tower: ImageTower) -> None:
        super().__init__()
        self.spec, self.stem, self.cls, self.position = (
            tower.spec,
            tower.stem,
            tower.cls,
            tower.position,
        )
        self.blocks = nn.ModuleList(list(tower.blocks)[: tower.spec.middle])

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the CLS token after the last of the blocks."""
        patches = self.stem(pixel_values).flatten(2).transpose(1, 2) + self.position
        features = torch.cat([self.cls.expand(patches.shape[0], -1, -1), patches], dim=1)
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
