"""Images that the real head learns from: photographs and generated ones, each through channels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lineup.channels import CLEAN, DRAWN, through_channel
from lineup.imaging.tiles import TileSpec, tiles_from_image
from lineup.types import AnyArray, Float32Array, RgbTiles
from lineup_models.fingerprint.graph import TileFeatures
from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.photographs import pixels_from_path, ranked

CHANNELS = (CLEAN, DRAWN, "jpeg:70", "resize:0.5")
"""Every image is looked at through them; the head learns from the first two."""

LEARNT = CHANNELS[:2]


@dataclass(frozen=True, slots=True, eq=False)
class SeenImage:
    """An image, as the head sees it.

    Attributes:
        group: The generator, or the photograph's folder.
        is_generated: Which of the two it is.
        statistics: float32 (tiles, statistics) per channel.
    """

    group: str
    is_generated: bool
    statistics: Mapping[str, AnyArray]


def at_most_per_folder(paths: Sequence[Path], count: int) -> list[Path]:
    """Return the `count` paths of each folder whose names have the lowest SHA-256, sorted."""
    folders: dict[Path, list[Path]] = {}
    for path in ranked(paths):
        folders.setdefault(path.parent, []).append(path)
    return sorted(path for own in folders.values() for path in own[:count])


def seen_images(
    paths: Iterable[Path], spec: SpectrumSpec, *, is_generated: bool, tiles_per_image: int
) -> Iterator[SeenImage]:
    """Yield the images of some files.

    Raises:
        ImageError: A file cannot be decoded.
    """
    tiling = TileSpec(spec.tile_size_px, tiles_per_image)
    features = TileFeatures(spec).eval()

    @torch.inference_mode()
    def statistics_of(tiles: RgbTiles) -> Float32Array:
        found: Tensor = features(torch.from_numpy(tiles))[1]
        return found.numpy()

    for path in paths:
        pixels, name = pixels_from_path(path), f"{path.parent.name}/{path.name}"
        statistics = {
            channel: statistics_of(tiles_from_image(through_channel(pixels, channel, name), tiling))
            for channel in CHANNELS
        }
        yield SeenImage(path.parent.name, is_generated, statistics)
