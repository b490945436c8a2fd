"""The autoencoder of a generator: latents to images and back, in tiles where they are large."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from lineup.bundles.info import GenerationInfo
from lineup.models.components import Components
from lineup.models.tiling import run_tiled
from lineup.types import Float32Array

VAE_DECODER = "vae_decoder"
VAE_ENCODER = "vae_encoder"

_Graph = Callable[[Float32Array], Float32Array]

MIN_TILE_CELLS = 64
"""Smallest side of a tile in latent cells: that of Stable Diffusion's decoder in diffusers."""


class Autoencoder:
    """Encodes and decodes one image at a time, so that memory does not grow with the batch.

    Args:
        components: Of the generator.
        info: Scale, shift and size of its latents.

    Attributes:
        tile_cells: Latents with a longer side are cut into tiles of this side. Images of the
            generator's native size never are.
    """

    def __init__(self, components: Components, info: GenerationInfo) -> None:
        self._components = components
        self._factor = info.latent_factor
        self._scaling = np.float32(info.latent_scaling)
        self._shift = np.float32(info.latent_shift)
        native = -(-max(info.native_width_px, info.native_height_px) // info.latent_factor)
        self.tile_cells = max(MIN_TILE_CELLS, -(-native // 4) * 4)

    def decode(self, latents: Float32Array) -> Float32Array:
        """Return images.

        Args:
            latents: Shape (images, C, rows, columns), float32, as the denoiser has them.

        Returns:
            Shape (images, 3, height, width), float32, nominally -1..1, not cut off.
        """
        raw = latents / self._scaling + self._shift
        tile, tile_out = self.tile_cells, self.tile_cells * self._factor
        return np.concatenate([self._run(self._decode, one, tile, tile_out) for one in _each(raw)])

    def encode(self, images: Float32Array) -> Float32Array:
        """Return the latents of images, as the denoiser has them: the mean of the posterior.

        Args:
            images: Shape (images, 3, height, width), float32, -1..1, multiples of the factor.

        Returns:
            Shape (images, C, rows, columns), float32.
        """
        tile, tile_out = self.tile_cells * self._factor, self.tile_cells
        raw = [self._run(self._encode, one, tile, tile_out) for one in _each(images)]
        scaled: Float32Array = (np.concatenate(raw) - self._shift) * self._scaling
        return scaled

    def _run(self, run: _Graph, array: Float32Array, tile: int, tile_out: int) -> Float32Array:
        if max(array.shape[2:]) <= tile:
            return run(array)
        return run_tiled(run, array, tile=tile, tile_out=tile_out)

    def _decode(self, latents: Float32Array) -> Float32Array:
        image: Float32Array = self._components.run(VAE_DECODER, {"latents": latents})["image"]
        return image

    def _encode(self, image: Float32Array) -> Float32Array:
        latents: Float32Array = self._components.run(VAE_ENCODER, {"image": image})["latents"]
        return latents


def _each(batch: Float32Array) -> Iterator[Float32Array]:
    return (batch[index : index + 1] for index in range(len(batch)))
