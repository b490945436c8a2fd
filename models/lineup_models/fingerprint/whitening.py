"""Fitting the whitening: photographs in, mean and principal axes of their features out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from lineup.channels import BANK, through_channel
from lineup.errors import ImageError, UsageError
from lineup.imaging.tiles import TileSpec, tiles_from_image
from lineup.types import RgbImage
from lineup_models.fingerprint.checkpoint import Checkpoint
from lineup_models.fingerprint.covariance import PrincipalAxes, side_by_side
from lineup_models.fingerprint.graph import TileFeatures
from lineup_models.fingerprint.spec import TEXTURE_DIMENSION, SpectrumSpec
from lineup_models.photographs import (
    HOLD_OUT,
    HOLD_OUT_RULE,
    pixels_from_path,
    split_photographs,
)
from lineup_models.training import Watch, computing, plainly, tool_versions

CROP_PX = 768
"""Longest side of what is used of a photograph: more of it would cost time and tell little."""


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How photographs become samples.

    Attributes:
        hold_out: Photographs that are never used, for evaluation.
        tiles_per_photo: Most tiles of a photograph, spread over it, whose features are averaged to
            one sample.
    """

    hold_out: int = HOLD_OUT
    tiles_per_photo: int = 8


@dataclass(frozen=True, slots=True)
class Fit:
    """What a fit gives, and the photographs that could not be decoded, each with the reason."""

    checkpoint: Checkpoint
    skipped: Mapping[Path, str]


def fit_whitening(
    folders: Sequence[Path],
    spec: SpectrumSpec,
    options: FitOptions,
    *,
    watch: Watch = plainly,
) -> Fit:
    """Fit mean and principal axes on photographs that went through each channel of the bank.

    Spectrum and texture are whitened each by itself: what is compared alone is not to depend on the
    other.

    Each photograph, or the middle of it (`CROP_PX` a side; it is never resized for this), gives
    one sample per channel. The same files, settings and library versions give the same numbers.

    Args:
        folders: Searched recursively for images.
        spec: Constants of the features.
        options: How photographs become samples.
        watch: Wraps the photographs.

    Raises:
        UsageError: There are fewer than two photographs that can be used.
    """
    started = time.perf_counter()
    split = split_photographs(folders, options.hold_out)
    parts = [PrincipalAxes(spec.dimension), PrincipalAxes(TEXTURE_DIMENSION)]
    # One thread: sums come in the same order on every machine. It is faster as well where other
    # work keeps the cores busy: threads that wait for each other after each of many small
    # operations wait for the scheduler.
    with computing(threads=1):
        skipped = _gather(watch("photographs", split.fit), spec, options, parts)
        used = len(split.fit) - len(skipped)
        if used < 2:
            raise UsageError(
                f"Only {used} of {len(split.fit)} photographs can be decoded; "
                "the fit needs at least two.",
                hint=": ".join(map(str, next(iter(skipped.items())))) if skipped else None,
            )
        found = side_by_side([one.found(axes=spec.axes, floor=spec.floor) for one in parts])
    record = {
        "photographs": used,
        "photographs_skipped": len(skipped),
        "photographs_held_out": len(split.held_out),
        "hold_out_rule": HOLD_OUT_RULE,
        "channels": list(BANK),
        "samples": parts[0].count,
        "options": asdict(options),
        "tools": tool_versions(),
        "seconds": round(time.perf_counter() - started, 1),
    }
    return Fit(Checkpoint(spec, found, record), skipped)


def _gather(
    photographs: Iterable[Path],
    spec: SpectrumSpec,
    options: FitOptions,
    parts: Sequence[PrincipalAxes],
) -> dict[Path, str]:
    """Add the samples of all photographs; return those that cannot be decoded."""
    features = TileFeatures(spec).eval()
    tiling = TileSpec(size_px=spec.tile_size_px, max_tiles=options.tiles_per_photo)
    skipped: dict[Path, str] = {}
    for path in photographs:
        try:
            pixels = middle(pixels_from_path(path))
        except ImageError as error:
            skipped[path] = error.one_line
            continue
        for channel in BANK:
            tiles = torch.from_numpy(tiles_from_image(through_channel(pixels, channel), tiling))
            with torch.inference_mode():
                sample = features(tiles)[0].mean(0).numpy()
            for part, values in zip(parts, np.split(sample, [spec.dimension]), strict=True):
                part.add(values)
    return skipped


def middle(pixels: RgbImage) -> RgbImage:
    """Return the centre of an image, at most `CROP_PX` a side."""
    top, left = (max(0, side - CROP_PX) // 2 for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + CROP_PX, left : left + CROP_PX])
