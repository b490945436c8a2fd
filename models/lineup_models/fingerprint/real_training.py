"""Fitting the head that tells photographs from generated images.

Photographs against their reconstructions by simulated generators; no image of a real generator.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from lineup.imaging.tiles import TileSpec, tiles_from_image
from lineup.types import AnyArray, Float32Array, RgbImage
from lineup_models.fingerprint.dft import LatticeContrast
from lineup_models.fingerprint.real_head import (
    DEVIATIONS_MAX,
    STATISTICS,
    RealWeights,
    TileStatistics,
    check_spec,
)
from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.fingerprint.spectrum import PooledSpectrum
from lineup_models.photographs import (
    HOLD_OUT_RULE,
    JPEG_QUALITIES,
    pixels_from_path,
    recoded,
    split_photographs,
)
from lineup_models.simulator.bank_reader import bank_images
from lineup_models.training import Watch, plainly

HALVED_CHROMA_SHARE = 0.7
MOSAIC_SHARE = 0.6
"""Of the photographs shrunk to half; the others are continued by reflection, as tiles are."""

MOSAIC_PHOTOGRAPHS = 64
"""The latest ones, of which mosaics are made."""

SHRINKING = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
ENLARGING = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
CHANGE_SHARES = (0.45, 0.15, 0.15, 0.15, 0.1)
RECONSTRUCTION_SHARES = (0.5, 1 / 3, 1 / 6)
"""Of reconstructions that are also seen changed, compressed, and no further time."""


def photograph_tiles(
    photographs: Iterable[RgbImage], size_px: int, random: np.random.Generator
) -> Iterator[RgbImage]:
    """Yield five tiles of each photograph, (size, size, 3).

    As it is; compressed; without its history (half its size); that, compressed; changed. Each
    photograph has at least `size_px` a side.
    """
    halves: deque[RgbImage] = deque(maxlen=MOSAIC_PHOTOGRAPHS)
    for photograph in photographs:
        halves.append(_halved(photograph, random))
        yield crop(photograph, size_px, random)
        yield crop(compressed(photograph, random), size_px, random)
        yield _without_history(halves, size_px, random)
        yield compressed(_without_history(halves, size_px, random), random)
        yield _changed_tile(photograph, size_px, random)


def reconstruction_tiles(
    images: Iterable[RgbImage], random: np.random.Generator
) -> Iterator[RgbImage]:
    """Yield one or two tiles of each reconstruction: as it is, and changed or compressed.

    Reconstructions are square, of the tiles' size.
    """
    for image in images:
        yield image
        kind = random.choice(3, p=RECONSTRUCTION_SHARES)
        if kind == 0:
            yield _changed_tile(image, len(image), random)
        elif kind == 1:
            yield compressed(image, random)


def crop(pixels: RgbImage, size_px: int, random: np.random.Generator) -> RgbImage:
    """Return a random crop; a smaller image is first continued by reflection."""
    small = min(pixels.shape[:2]) < size_px
    padded = tiles_from_image(pixels, TileSpec(size_px, 1))[0] if small else pixels
    top = random.integers(padded.shape[0] - size_px + 1)
    left = random.integers(padded.shape[1] - size_px + 1)
    return np.ascontiguousarray(padded[top : top + size_px, left : left + size_px])


def compressed(pixels: RgbImage, random: np.random.Generator) -> RgbImage:
    """Return the image as JPEG leaves it, mostly with halved chroma."""
    quality = int(random.integers(*JPEG_QUALITIES, endpoint=True))
    halved = random.random() < HALVED_CHROMA_SHARE
    sampling = (
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if halved else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    )
    return recoded(
        pixels,
        ".jpg",
        [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling],
    )


def _changed_tile(pixels: RgbImage, size_px: int, random: np.random.Generator) -> RgbImage:
    change = _CHANGES[random.choice(len(_CHANGES), p=CHANGE_SHARES)]
    changed = change(pixels, random)
    return crop(compressed(changed, random) if random.random() < 0.5 else changed, size_px, random)


def _halved(pixels: RgbImage, random: np.random.Generator) -> RgbImage:
    method = SHRINKING[random.integers(len(SHRINKING))]
    return np.asarray(cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=method), np.uint8)


def _without_history(
    halves: Sequence[RgbImage], size_px: int, random: np.random.Generator
) -> RgbImage:
    """Return the latest half, continued by reflection, or a mosaic of four of them."""
    if random.random() >= MOSAIC_SHARE:
        return np.asarray(tiles_from_image(halves[-1], TileSpec(size_px, 1))[0])
    drawn = random.integers(len(halves), size=(2, 2))
    rows = [
        np.hstack([crop(halves[index], size_px // 2, random) for index in pair]) for pair in drawn
    ]
    return np.asarray(np.vstack(rows), np.uint8)


def _resized(pixels: RgbImage, random: np.random.Generator) -> RgbImage:
    factor = random.uniform(0.6, 1.6)
    methods = SHRINKING if factor < 1 else ENLARGING
    method = methods[random.integers(len(methods))]
    return np.asarray(
        cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=method), np.uint8
    )


def _blurred(pixels: RgbImage, random: np.random.Generator) -> RgbImage:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), random.uniform(0.35, 1.0)), np.uint8)


def _sharpened(pixels: RgbImage, random: np.random.Generator) -> RgbImage:
    strength, sigma_px = random.uniform(0.2, 1.0), random.uniform(0.6, 1.5)
    blurred = cv2.GaussianBlur(pixels, (0, 0), sigma_px)
    return np.asarray(cv2.addWeighted(pixels, 1 + strength, blurred, -strength, 0), np.uint8)


def _noisy(pixels: RgbImage, random: np.random.Generator) -> RgbImage:
    channels = 1 if random.random() < 0.5 else 3
    noise = random.uniform(0.7, 4.0) * random.standard_normal((*pixels.shape[:2], channels))
    return np.asarray(np.clip(np.rint(pixels + noise), 0, 255), np.uint8)


def _webp(pixels: RgbImage, random: np.random.Generator) -> RgbImage:
    return recoded(pixels, ".webp", [cv2.IMWRITE_WEBP_QUALITY, int(random.integers(70, 96))])


_CHANGES: tuple[Callable[[RgbImage, np.random.Generator], RgbImage], ...] = (
    _resized,
    _blurred,
    _sharpened,
    _noisy,
    _webp,
)
"""In the order of `CHANGE_SHARES`."""


@dataclass(frozen=True, slots=True)
class RealOptions:
    """How the head is fitted.

    Attributes:
        hold_out: Photographs that are never used, for evaluation.
        ridge: Of the logistic regression on standardised statistics.
        traceless: See `RealWeights`.
        odd: See `RealWeights`.
        seed: Of crops and histories.
    """

    hold_out: int = 150
    ridge: float = 0.01
    traceless: float = 0.5
    odd: float = 0.05
    seed: int = 0


def fit_real_head(
    photos: Path,
    bank: Path,
    spec: SpectrumSpec,
    options: RealOptions,
    *,
    watch: Watch = plainly,
) -> tuple[RealWeights, dict[str, Any]]:
    """Fit the head; the same files, settings and library versions give the same numbers.

    Args:
        photos: Folder of photographs, searched recursively; each at least a tile a side.
        bank: Bank of reconstructions.
        spec: Constants of the spectrum.
        options: How.
        watch: Wraps the tiles.

    Returns:
        The head, and its record (plain JSON values).

    Raises:
        UsageError: The spectrum gives no residual per channel, there is no bank, or there are
            too few photographs.
        ImageError: A photograph cannot be decoded.
    """
    started = time.perf_counter()
    check_spec(spec)
    split = split_photographs(photos, options.hold_out)
    photographs = map(pixels_from_path, split.fit)
    random = np.random.default_rng([options.seed, 0])
    real = _statistics(
        watch("tiles", photograph_tiles(photographs, spec.tile_size_px, random)), spec
    )
    random = np.random.default_rng([options.seed, 1])
    generated = _statistics(watch("tiles", reconstruction_tiles(bank_images(bank), random)), spec)
    weights = real_weights_from_statistics(real, generated, options)
    record = {
        "photographs": len(split.fit),
        "photographs_held_out": len(split.held_out),
        "hold_out_rule": HOLD_OUT_RULE,
        "tiles_of_photographs": len(real),
        "tiles_of_reconstructions": len(generated),
        "options": asdict(options),
        "seconds": round(time.perf_counter() - started, 1),
    }
    return weights, record


def real_weights_from_statistics(
    real: AnyArray, generated: AnyArray, options: RealOptions
) -> RealWeights:
    """Fit the regression, both classes with the same weight.

    Args:
        real: Statistics of photographs' tiles, (n, statistics).
        generated: Statistics of reconstructions' tiles, (m, statistics).
        options: Ridge and what is assumed.
    """
    rows = np.concatenate([real, generated]).astype(np.float64)
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    # Statistics that never vary carry nothing; a deviation of 1 keeps them finite.
    deviation = np.where(deviation > 0, deviation, 1.0)
    standardised = np.clip((rows - mean) / deviation, -DEVIATIONS_MAX, DEVIATIONS_MAX)
    labels = np.repeat([0, 1], [len(real), len(generated)])
    shares = np.repeat([0.5 / len(real), 0.5 / len(generated)], [len(real), len(generated)])
    # The ridge is on the weights of both classes, half of the difference each: hence the 2.
    fit = LogisticRegression(C=2 / options.ridge, tol=1e-8, max_iter=1000)
    fit.fit(standardised, labels, sample_weight=shares)
    return RealWeights(
        mean=mean,
        deviation=deviation,
        weights=fit.coef_[0],
        bias=float(fit.intercept_[0]),
        traceless=options.traceless,
        odd=options.odd,
    )


def _statistics(tiles: Iterable[RgbImage], spec: SpectrumSpec) -> Float32Array:
    """Return the statistics of each tile, float32 (tiles, statistics)."""
    spectrum, lattice = PooledSpectrum(spec).eval(), LatticeContrast(spec.tile_size_px).eval()
    statistics = TileStatistics()
    rows: list[Float32Array] = []
    with torch.inference_mode():
        for tile in tiles:
            batch = torch.from_numpy(tile[None])
            residuals = spectrum.residuals(batch)
            contrasts = lattice(spectrum.levels_from_residuals(residuals))
            pixels = batch.permute(0, 3, 1, 2).to(torch.float32)
            rows.append(torch.cat([contrasts, statistics(pixels, residuals)], 1)[0].numpy())
    return np.stack(rows) if rows else np.empty((0, STATISTICS), np.float32)
