"""Features of a bank's images, clean and degraded, by whatever function the caller brings."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lineup.files import write_atomic
from lineup.imaging.tiles import TileSpec, tiles_from_image
from lineup.types import AnyArray, Float32Array, RgbImage, RgbTiles
from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.fingerprint.spectrum import PooledSpectrum
from lineup_models.simulator.degradation import (
    Degradation,
    degradation_from_seed,
    degraded_image,
)

FeatureFunction = Callable[[Sequence[RgbImage]], Float32Array]
"""Images (height, width, 3), of any sizes, to one row each: float32 (images, dimension)."""


def spectrum_features(spec: SpectrumSpec, *, max_tiles: int = 9) -> FeatureFunction:
    """Return the pooled log-spectrum of an image, averaged over its tiles: the fingerprint's input.

    Args:
        spec: Constants of the spectrum.
        max_tiles: Most tiles of one image.
    """
    return features_from_spectrum(PooledSpectrum(spec).eval(), spec, max_tiles=max_tiles)


def features_from_spectrum(
    spectrum: nn.Module, spec: SpectrumSpec, *, device: str = "cpu", max_tiles: int = 9
) -> FeatureFunction:
    """Return the function from images to rows, averaged over an image's tiles.

    Args:
        spectrum: Tiles to rows; is moved to `device`.
        spec: Constants of the spectrum.
        device: Where to compute, in torch's words.
        max_tiles: Most tiles of one image.
    """
    spectrum.to(device)
    tiling = TileSpec(size_px=spec.tile_size_px, max_tiles=max_tiles)

    def features(images: Sequence[RgbImage]) -> Float32Array:
        rows = np.empty((len(images), spec.dimension), np.float32)
        with torch.inference_mode():
            # One image at a time: a tile's temporaries stay in the cache.
            for row, image in zip(rows, images, strict=True):
                tiles = torch.from_numpy(tiles_from_image(image, tiling)).to(device)
                row[:] = spectrum(tiles).mean(dim=0).cpu().numpy()
        return rows

    return features


def degradations_of_sample(seed: Sequence[int], versions: int) -> tuple[Degradation, ...]:
    """Draw the degradations of one sample: one per version, each on its own."""
    return tuple(degradation_from_seed([*seed, version]) for version in range(versions))


def features_of_images(
    images: RgbTiles, seed: int, shard: int, versions: int, features: FeatureFunction
) -> dict[str, AnyArray]:
    """Return the features of a shard.

    Args:
        images: uint8 (N, size, size, 3).
        seed: Of the bank.
        shard: Number of the shard; with seed and position it fixes each degradation.
        versions: Degraded versions of each image.
        features: Applied to the images and to their degraded versions.

    Returns:
        clean: float16 (N, D). degraded: float16 (N, versions, D). degradations: float32
        (N, versions, 5), the attributes of `Degradation` in order.
    """
    clean = features(list(images)).astype(np.float16)
    degraded = np.empty((len(images), versions, clean.shape[1]), np.float16)
    parameters = np.empty((len(images), versions, len(astuple(Degradation()))), np.float32)
    for position, image in enumerate(images):
        drawn = degradations_of_sample([seed, shard, position], versions)
        if not drawn:
            continue
        degraded[position] = features([degraded_image(image, one) for one in drawn])
        parameters[position] = [astuple(one) for one in drawn]
    return {"clean": clean, "degraded": degraded, "degradations": parameters}


def write_arrays(path: Path, arrays: Mapping[str, AnyArray]) -> None:
    """Write an .npz, whole or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_atomic(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, AnyArray]:
    """Read an .npz into memory."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
