"""Images that the real head learns from: photographs and generated ones, each through channels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lineup.channels import CLEAN, DRAWN, through_channel
from lineup.errors import UsageError
from lineup.finding import find_images
from lineup.imaging.tiles import TileSpec, tiles_from_image
from lineup.types import AnyArray, Float32Array
from lineup_models.fingerprint.dft import LatticeContrast
from lineup_models.fingerprint.real_head import TileStatistics
from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.fingerprint.spectrum import PooledSpectrum
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


def generated_paths(folder: Path) -> list[Path]:
    """Return the images of a folder with a folder per generator.

    Raises:
        UsageError: There are fewer than two generators: none could be left out.
    """
    paths = sorted(path for path in find_images([folder]) if path.parent.parent == folder)
    if len({path.parent for path in paths}) < 2:
        raise UsageError(
            f"{folder} holds no images of two generators.",
            hint="Give each generator a folder of its own: DIR/<generator>/*.png",
        )
    return paths


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
    reader = _Reader(spec)
    for path in paths:
        pixels, name = pixels_from_path(path), f"{path.parent.name}/{path.name}"
        statistics = {
            channel: reader(tiles_from_image(through_channel(pixels, channel, name), tiling))
            for channel in CHANNELS
        }
        yield SeenImage(path.parent.name, is_generated, statistics)


class _Reader:
    """Computes what the head reads of tiles."""

    def __init__(self, spec: SpectrumSpec) -> None:
        self.spectrum = PooledSpectrum(spec).eval()
        self.lattice = LatticeContrast(spec.tile_size_px).eval()
        self.statistics = TileStatistics()

    @torch.inference_mode()
    def __call__(self, tiles: AnyArray) -> Float32Array:
        """Return float32 (tiles, statistics) of uint8 (tiles, size, size, 3)."""
        pixels = torch.from_numpy(tiles).to(torch.float32)
        residuals = self.spectrum.residuals(pixels)
        contrasts = self.lattice(self.spectrum.levels_from_residuals(residuals))
        planes = pixels.permute(0, 3, 1, 2)
        rows: Tensor = torch.cat([contrasts, self.statistics(planes, residuals)], 1)
        return rows.numpy()
