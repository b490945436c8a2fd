"""Rendered pictures of the pocket world with their captions, kept on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from lineup.errors import UsageError
from lineup.files import write_atomic
from lineup_models.pocket.architectures import SIZE_PX
from lineup_models.pocket.world.render import pixels_from_scene
from lineup_models.pocket.world.scene import scene_from_seed
from lineup_models.training import Watch

UINT8 = npt.NDArray[np.uint8]

SHARD = 64
"""Pictures between two notes of how far the rendering has come."""

SEEDS_PER_RUN = 100_000_000
HELD_OUT_FIRST, PROMPTS_FIRST = 50_000_000, 60_000_000
"""Scenes of a run: its training pictures, from here its held-out ones, from here its prompts."""

FULL_CAPTION_SHARE = 0.5
SHIFT_PX = 10
DEGRADED_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class World:
    """Pictures, (N, 256, 256, 3), sRGB, and true captions of each, the most detailed first."""

    pictures: UINT8
    captions: tuple[tuple[str, ...], ...]


def filled_arrays(
    folder: Path,
    rows: int,
    at_once: int,
    arrays: Mapping[str, tuple[npt.DTypeLike, tuple[int, ...]]],
    watch: Watch,
) -> Iterator[tuple[range, Mapping[str, npt.NDArray[Any]]]]:
    """Yield numbers of rows to fill, and the arrays on disk; go on where a run was interrupted.

    Args:
        folder: For `NAME.npy` of each array, and the number of rows done.
        rows: Of each array.
        at_once: Rows that are filled between two notes of how far it has come.
        arrays: Type and shape of a row of each, by name.
        watch: Wraps the steps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    progress = folder / "done.txt"
    done = int(progress.read_text()) if progress.exists() else 0
    mode: Any = "r+" if done else "w+"
    files = {
        name: open_memmap(folder / f"{name}.npy", mode=mode, dtype=kind, shape=(rows, *shape))
        for name, (kind, shape) in arrays.items()
    }
    for start in watch(folder.name, range(done, rows, at_once)):
        stop = min(start + at_once, rows)
        yield range(start, stop), files
        for file in files.values():
            file.flush()
        write_atomic(progress, str(stop).encode())


def fill_world(folder: Path, first_seed: int, pictures: int, *, workers: int, watch: Watch) -> None:
    """Render scenes from `first_seed` on into `folder`: `pictures.npy`, then `captions.json`."""
    arrays = {"pictures": (np.uint8, (SIZE_PX, SIZE_PX, 3))}
    # A forked process would inherit locked libraries; the spawned ones draw the same pixels.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for rows, files in filled_arrays(folder, pictures, SHARD, arrays, watch):
            seeds = [first_seed + row for row in rows]
            for row, picture in zip(rows, pool.map(_rendered, seeds), strict=True):
                files["pictures"][row] = picture
    captions = [scene_from_seed(first_seed + number).captions() for number in range(pictures)]
    write_atomic(folder / "captions.json", json.dumps(captions).encode())


def _rendered(seed: int) -> UINT8:
    return pixels_from_scene(scene_from_seed(seed), seed, SIZE_PX)


def read_world(folder: Path) -> World:
    """Return what `fill_world` left in `folder`, if it came to its end; pictures stay on disk."""
    path = folder / "captions.json"
    if not path.exists():
        raise UsageError(
            f"{folder} has no rendered pictures.", hint="Go through stage world first."
        )
    captions = tuple(tuple(several) for several in json.loads(path.read_text()))
    return World(np.load(folder / "pictures.npy", mmap_mode="r"), captions)


def images_from_pixels(pixels: UINT8, device: torch.device | str = "cpu") -> Tensor:
    """Return float32 (N, 3, H, W), -1..1, of uint8 (N, H, W, 3)."""
    # A copy: pictures on disk are read-only, and torch has no such tensors.
    planes = torch.from_numpy(np.array(pixels, order="C")).to(device).permute(0, 3, 1, 2)
    return planes.to(torch.float32).div_(127.5).sub_(1.0)


def resized(pictures: UINT8, size_px: int) -> UINT8:
    """Return uint8 (N, size, size, 3), reduced by averaging areas (Pillow's box filter)."""
    if pictures.shape[1] == size_px:
        return pictures
    side = (size_px, size_px)
    found = [cv2.resize(one, side, interpolation=cv2.INTER_AREA) for one in pictures]
    return np.stack(found).astype(np.uint8)


def pixels_from_images(images: Tensor) -> UINT8:
    """Return uint8 (N, H, W, 3) of float (N, 3, H, W), -1..1."""
    grey = ((images.float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
    pixels: UINT8 = grey.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return pixels


def random_crops(pictures: UINT8, count: int, size_px: int, random: np.random.Generator) -> UINT8:
    """Return `count` crops of random pictures at random places, uint8 (count, size, size, 3)."""
    room = pictures.shape[1] - size_px
    crops = np.empty((count, size_px, size_px, 3), np.uint8)
    for row in range(count):
        number = random.integers(len(pictures))
        top, left = random.integers(0, room, 2, endpoint=True)
        crops[row] = pictures[number, top : top + size_px, left : left + size_px]
    return crops


def drawn_caption(
    captions: Sequence[str], random: np.random.Generator, full_share: float = FULL_CAPTION_SHARE
) -> str:
    """Return the most detailed caption with probability `full_share`, else another one."""
    if len(captions) == 1 or random.random() < full_share:
        return captions[0]
    return captions[int(random.integers(1, len(captions)))]


def varied(picture: UINT8, random: np.random.Generator) -> UINT8:
    """Return a picture moved by some pixels and, at times, with less quality.

    What the captions say stays true. The pictures of generators are softer than rendered ones,
    and a model that has seen no such picture fails on them.
    """
    moved = shifted(picture, random)
    return _degraded(moved, random) if random.random() < DEGRADED_SHARE else moved


def shifted(picture: UINT8, random: np.random.Generator) -> UINT8:
    """Return a picture moved by some pixels; what comes in at the border is mirrored."""
    right, down = random.integers(-SHIFT_PX, SHIFT_PX, 2, endpoint=True)
    matrix = np.float32([[1, 0, right], [0, 1, down]])  # type: ignore[arg-type]
    side = picture.shape[0]
    moved = cv2.warpAffine(
        picture, matrix, (side, side), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(moved, np.uint8)


def _degraded(picture: UINT8, random: np.random.Generator) -> UINT8:
    kind, strength = random.integers(3), random.random()
    if kind == 0:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.4 + 2.0 * strength), np.uint8)
    if kind == 1:
        side = picture.shape[0]
        small = round(side / (1.2 + 3.0 * strength))
        way = (cv2.INTER_LINEAR, cv2.INTER_CUBIC)[int(random.integers(2))]
        fewer = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(fewer, (side, side), interpolation=way), np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(95 - 55 * strength)]
    _, coded = cv2.imencode(".jpg", picture, quality)
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
