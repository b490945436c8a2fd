"""Photographs of folders: listed, split by a rule, cut into crops."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lineup.errors import UsageError
from lineup.finding import find_images
from lineup.imaging.decode import bytes_from_path, image_from_bytes
from lineup.types import RgbImage, RgbTiles

HOLD_OUT_RULE = "lowest sha256 of the file name"
HOLD_OUT = 120
"""Photographs that no fit sees."""


@dataclass(frozen=True, slots=True)
class PhotographSplit:
    """Photographs of some folders, parted by a rule that does not depend on where they lie.

    Attributes:
        fit: Files to fit on, sorted.
        held_out: Files that no fit may see, sorted.
    """

    fit: tuple[Path, ...]
    held_out: tuple[Path, ...]


def split_photographs(folders: Sequence[Path], hold_out: int) -> PhotographSplit:
    """Part the photographs of some folders.

    Args:
        folders: Searched recursively.
        hold_out: How many to keep apart: those whose file names have the lowest SHA-256.

    Raises:
        UsageError: Fewer than two photographs are left to fit on.
    """
    paths = sorted(find_images(folders))
    order = ranked(paths)
    held_out, fit = order[:hold_out], order[hold_out:]
    if len(fit) < 2:
        raise UsageError(
            f"Of {len(paths)} photographs in {', '.join(map(str, folders))}, {hold_out} are held "
            "out; the fit needs at least two of the others.",
            hint="Name a folder with more photographs, or lower --hold-out.",
        )
    return PhotographSplit(fit=tuple(sorted(fit)), held_out=tuple(sorted(held_out)))


def generator_folders(folders: Sequence[Path], photographs: Sequence[Path]) -> list[Path]:
    """Return the folders within some, a generator each; those given as photographs are none.

    Raises:
        UsageError: There are fewer than two generators: none could be left out.
    """
    cameras = {path.resolve() for path in photographs}
    found = [
        path
        for folder in folders
        for path in sorted(folder.iterdir())
        if path.is_dir() and path.resolve() not in cameras
    ]
    if len(found) < 2:
        raise UsageError(
            f"{', '.join(map(str, folders))} holds no images of two generators.",
            hint="Give each generator a folder of its own: DIR/<generator>/*.png",
        )
    return found


def ranked(paths: Iterable[Path]) -> list[Path]:
    """Return files by the SHA-256 of their names."""
    return sorted(paths, key=lambda path: (hashlib.sha256(path.name.encode()).digest(), path))


SIDE_MULTIPLE_PX = 8
"""The encoder halves the image three times."""


def random_crop(photograph: RgbImage, size_px: int, random: np.random.Generator) -> RgbImage:
    """Return a square crop, mirrored half of the time, shape (size, size, 3).

    Raises:
        UsageError: The photograph is smaller than the crop.
    """
    height, width = photograph.shape[:2]
    if min(height, width) < size_px:
        raise UsageError(
            f"A photograph of {width}x{height} px has no crop of {size_px} px.",
            hint="Lower the crop size, or leave small photographs out.",
        )
    top = int(random.integers(0, height - size_px, endpoint=True))
    left = int(random.integers(0, width - size_px, endpoint=True))
    crop = photograph[top : top + size_px, left : left + size_px]
    return np.ascontiguousarray(crop[:, ::-1] if random.integers(2) else crop)


def crops_from_paths(
    paths: Sequence[Path], size_px: int, count: int, random: np.random.Generator
) -> RgbTiles:
    """Return crops of photographs drawn with replacement, uint8 (count, size, size, 3).

    Raises:
        ImageError: A photograph cannot be decoded.
        UsageError: A photograph is smaller than the crop.
    """
    return np.stack(
        [
            crop_from_path(paths[int(index)], size_px, random)
            for index in random.integers(len(paths), size=count)
        ]
    )


def crop_from_path(path: Path, size_px: int, random: np.random.Generator) -> RgbImage:
    """Return `random_crop` of the photograph in a file, with the same errors as its two parts."""
    return random_crop(pixels_from_path(path), size_px, random)


def pixels_from_path(path: Path) -> RgbImage:
    """Return the photograph in a file, uint8 (H, W, 3).

    Raises:
        ImageError: It cannot be decoded.
    """
    return image_from_bytes(bytes_from_path(path)).pixels


def images_from_pixels(pixels: RgbTiles) -> Tensor:
    """Turn uint8 (N, H, W, 3) into float32 (N, 3, H, W), 0..1."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).to(torch.float32).contiguous() / 255.0
