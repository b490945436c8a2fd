"""The autoencoder of a generator: latents to images and back, in tiles where they are large."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lineup.bundles.info import GenerationInfo
from lineup.models.components import Components
from lineup.types import Float32Array, RgbImage

VAE_DECODER = "vae_decoder"
VAE_ENCODER = "vae_encoder"

MIN_TILE_CELLS = 64
"""Smallest side of a tile in latent cells: that of Stable Diffusion's decoder in diffusers."""

OVERLAP = 0.25
"""Share of a tile that it has in common with its neighbour."""


class Autoencoder:
    """Encodes and decodes one image at a time, so that memory does not grow with the batch.

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
        tile = self.tile_cells
        return self._each(raw, VAE_DECODER, "latents", "image", tile, tile * self._factor)

    def encode(self, images: Float32Array) -> Float32Array:
        """Return the latents of images, as the denoiser has them: the mean of the posterior.

        Args:
            images: Shape (images, 3, height, width), float32, -1..1, multiples of the factor.

        Returns:
            Shape (images, C, rows, columns), float32.
        """
        tile = self.tile_cells
        raw = self._each(images, VAE_ENCODER, "image", "latents", tile * self._factor, tile)
        scaled: Float32Array = (raw - self._shift) * self._scaling
        return scaled

    def _each(
        self, batch: Float32Array, role: str, given: str, output: str, tile: int, tile_out: int
    ) -> Float32Array:
        """Run a graph on one image after the other, in tiles where it is longer than a tile."""

        def run(array: Float32Array) -> Float32Array:
            return self._components.run(role, {given: array})[output]

        images = [batch[i : i + 1] for i in range(len(batch))]
        if max(batch.shape[2:]) > tile:
            made = [run_tiled(run, image, tile=tile, tile_out=tile_out) for image in images]
        else:
            made = [run(image) for image in images]
        return made[0] if len(made) == 1 else np.concatenate(made)


def run_tiled(
    run: Callable[[Float32Array], Float32Array],
    array: Float32Array,
    *,
    tile: int,
    tile_out: int,
) -> Float32Array:
    """Run a convolutional graph on overlapping tiles, and blend them into one array.

    The result differs a little from a run on the whole: normalisation and attention see a tile
    only. Tiles, overlap and blending are those of diffusers' `enable_vae_tiling`.

    Args:
        run: Maps (images, channels, rows, columns) to the same, scaled by a fixed ratio.
        array: Shape (images, channels, rows, columns), float32.
        tile: Side of a tile in `array`, a multiple of 4.
        tile_out: Side that a full tile has in the result.
    """
    stride = int(tile * (1 - OVERLAP))
    blend = int(tile_out * OVERLAP)
    keep = tile_out - blend
    above: list[Float32Array] = []
    strips: list[Float32Array] = []
    for top in range(0, array.shape[2], stride):
        row: list[Float32Array] = []
        for left in range(0, array.shape[3], stride):
            piece = np.array(run(array[:, :, top : top + tile, left : left + tile]))
            if above:
                _blend(above[len(row)], piece, blend, axis=2)
            if row:
                _blend(row[-1], piece, blend, axis=3)
            row.append(piece)
        strips.append(np.concatenate([piece[:, :, :keep, :keep] for piece in row], axis=3))
        above = row
    return np.concatenate(strips, axis=2)


def _blend(before: Float32Array, after: Float32Array, extent: int, *, axis: int) -> None:
    """Fade the end of one tile into the start of the next, in place in the latter."""
    extent = min(before.shape[axis], after.shape[axis], extent)
    share = (np.arange(extent) / extent).astype(np.float32)
    share = share.reshape([-1 if index == axis else 1 for index in range(4)])
    end = np.take(before, range(before.shape[axis] - extent, before.shape[axis]), axis=axis)
    start = after[:, :, :extent] if axis == 2 else after[:, :, :, :extent]
    start[...] = end * (1 - share) + start * share


def images_from_decoded(decoded: Float32Array) -> list[RgbImage]:
    """Return 8-bit images of a decoder's output, rounded as diffusers' `numpy_to_pil` does.

    Args:
        decoded: Shape (images, 3, height, width), float32, nominally -1..1; the rest is cut off.
            Its values are lost: another array would come on top of the decoder's own memory, when
            that is at its highest.
    """
    levels = decoded
    levels *= np.float32(0.5)
    levels += np.float32(0.5)
    np.clip(levels, 0, 1, out=levels)
    levels *= np.float32(255)
    np.rint(levels, out=levels)
    pixels: RgbImage = np.empty((len(levels), *levels.shape[2:], levels.shape[1]), np.uint8)
    pixels[...] = levels.transpose(0, 2, 3, 1)
    return list(pixels)


def encoder_input_from_image(image: RgbImage) -> Float32Array:
    """Return what an autoencoder's encoder takes: shape (1, 3, height, width), float32, -1..1.

    Args:
        image: Shape (height, width, 3), uint8 RGB.
    """
    pixels = image.astype(np.float32) / np.float32(255) * np.float32(2) - np.float32(1)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)


def resized(image: RgbImage, width_px: int, height_px: int) -> RgbImage:
    """Return an image of another size by Pillow's Lanczos filter, as diffusers does.

    The image has the shape (height, width, 3), uint8 RGB; one of that size is returned as it is.
    """
    if image.shape[:2] == (height_px, width_px):
        return image
    from PIL import Image  # noqa: PLC0415 - 6 MiB that pictures of the native size do without

    scaled = Image.fromarray(image).resize((width_px, height_px), Image.Resampling.LANCZOS)
    return np.asarray(scaled)
