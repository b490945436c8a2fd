"""The fingerprint and the photograph head in NumPy float64, written from their definitions.

Shares nothing with the torch modules but the settings: the transform is NumPy's FFT, the residual
filters go through the neighbours one by one, area pooling integrates, and patterns are counted one
by one. See `Texture` and `RealHead` of `lineup_models.fingerprint` for their definitions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lineup.types import Float64Array, RgbTiles
from lineup_models.fingerprint.covariance import FoundAxes
from lineup_models.fingerprint.real_head import RealWeights
from lineup_models.fingerprint.spec import ChannelMean, ResidualFilter, SpectrumSpec


def fingerprints_reference(
    tiles: RgbTiles, tile_weights: npt.NDArray[np.floating], spec: SpectrumSpec, fit: FoundAxes
) -> tuple[Float64Array, Float64Array]:
    """Return one fingerprint and one strength per row of `tile_weights`.

    Fingerprints are (images, dimension), rows of length 1; strengths (images,), in deviations.

    Args:
        tiles: (tiles, size, size, 3), uint8 RGB.
        tile_weights: (images, tiles); row i holds 1/T_i at image i's tiles and 0 elsewhere.
        spec: Constants of the spectrum.
        fit: Mean and axes.
    """
    weights = tile_weights.astype(np.float64)
    features = [
        np.concatenate([_pooled(log_spectrum(tile, spec), spec), 16.0 * texture(tile)])
        for tile in tiles
    ]
    deviation = weights @ np.stack(features) - fit.mean
    axes = fit.axes.astype(np.float64)
    along = deviation @ axes.T
    rest = deviation - along @ axes
    z = (along / np.sqrt(fit.variances + fit.floor)) @ axes + rest / np.sqrt(fit.floor)
    lengths = np.linalg.norm(z, axis=1)
    return z / np.maximum(lengths, 1e-12)[:, None], lengths


def residuals(tile: npt.NDArray[np.uint8], spec: SpectrumSpec) -> Float64Array:
    """Return the residual of each channel of one tile, (size, size, channels)."""
    pixels = tile.astype(np.float64)
    if spec.channel_mean is ChannelMean.PIXELS:
        pixels = pixels.mean(axis=2, keepdims=True)
    filtered = _bilateral if spec.residual is ResidualFilter.BILATERAL else _wiener
    return filtered(pixels, spec)


def log_spectrum(tile: npt.NDArray[np.uint8], spec: SpectrumSpec) -> Float64Array:
    """Return the full log-spectrum of one tile, (size, size), frequency 0 first on both axes."""
    noise = residuals(tile, spec)
    if spec.channel_mean is ChannelMean.RESIDUALS:
        noise = noise.mean(axis=2, keepdims=True)
    transform = np.fft.fft2(noise, axes=(0, 1), norm="ortho")
    level: Float64Array = np.log(1.0 + np.abs(transform)).mean(axis=2)
    return level


def lattice_contrasts(level: Float64Array) -> Float64Array:
    """Return how far the lattice points rise above the ring around them, (81,)."""
    step = len(level) // 16
    contrasts = [
        np.mean([_contrast(level, sign * row * step, column * step) for sign in (1, -1)])
        for row in range(9)
        for column in range(9)
    ]
    return np.array(contrasts)


def _contrast(level: Float64Array, row: int, column: int) -> float:
    rows, columns = np.arange(row - 2, row + 3), np.arange(column - 2, column + 3)
    window = level.take(rows, axis=0, mode="wrap").take(columns, axis=1, mode="wrap")
    ring = window.sum() - window[1:4, 1:4].sum()
    return float(window[2, 2] - ring / 16)


def _pooled(level: Float64Array, spec: SpectrumSpec) -> Float64Array:
    """Return a log-spectrum pooled, (pooled dimension,)."""
    half = np.fft.fftshift(level, axes=0)[:, : spec.tile_size_px // 2 + 1]
    down = _area_pooled(half, spec.pool_height)
    both: Float64Array = _area_pooled(down.T, spec.pool_width).T.ravel()
    return both


def _area_pooled(rows: Float64Array, cells: int) -> Float64Array:
    """Average the first axis over `cells` equal intervals, by differences of its integral."""
    size = len(rows)
    integral = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0)])
    borders = np.arange(cells + 1) * size / cells
    whole = np.arange(size + 1)
    at_borders = np.stack(
        [np.interp(borders, whole, integral[:, column]) for column in range(rows.shape[1])], axis=1
    )
    pooled: Float64Array = np.diff(at_borders, axis=0) * cells / size
    return pooled


def _neighbours(image: Float64Array, radius: int) -> Iterator[tuple[int, int, Float64Array]]:
    """Yield (dy, dx, image moved by them) over a square, the border mirrored."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((radius, radius), (radius, radius), (0, 0)), mode="reflect")
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            top, left = radius + dy, radius + dx
            yield dy, dx, padded[top : top + height, left : left + width]


def _bilateral(image: Float64Array, spec: SpectrumSpec) -> Float64Array:
    radius = spec.window_px // 2
    total, weights = np.zeros_like(image), np.zeros_like(image)
    for dy, dx, neighbour in _neighbours(image, radius):
        if dy * dy + dx * dx > radius * radius:
            continue
        space = (dy * dy + dx * dx) / (2 * spec.sigma_space_px**2)
        weight = np.exp(-space - (neighbour - image) ** 2 / (2 * spec.sigma_grey**2))
        total += weight * neighbour
        weights += weight
    return image - total / weights


def _window_mean(image: Float64Array, window_px: int) -> Float64Array:
    total = np.zeros_like(image)
    for _, _, neighbour in _neighbours(image, window_px // 2):
        total += neighbour
    return total / window_px**2


def _wiener(image: Float64Array, spec: SpectrumSpec) -> Float64Array:
    mean = _window_mean(image, spec.window_px)
    variance = np.maximum(_window_mean(image**2, spec.window_px) - mean**2, 0.0)
    return (image - mean) * spec.sigma_grey**2 / (variance + spec.sigma_grey**2)


def real_llrs_reference(
    tiles: RgbTiles,
    tile_weights: npt.NDArray[np.floating],
    spec: SpectrumSpec,
    real: RealWeights,
) -> Float64Array:
    """Return one log likelihood ratio per row of `tile_weights`, photograph against generated.

    The arguments are those of `fingerprints_reference`, with the head in place of the fit.
    """
    statistics = np.stack([_statistics(tile, spec) for tile in tiles])
    standardised = np.clip((statistics - real.mean) / real.deviation, -6, 6)
    generated = standardised @ real.weights + real.bias
    ratio = np.clip(-(tile_weights.astype(np.float64) @ generated), -20, 20)
    odd, traceless = np.log(real.odd), np.log(real.traceless)
    photograph = np.logaddexp(ratio + np.log(1 - real.odd), odd)
    claim: Float64Array = photograph - np.logaddexp(ratio + traceless, np.log(1 - real.traceless))
    return claim


def _statistics(tile: npt.NDArray[np.uint8], spec: SpectrumSpec) -> Float64Array:
    """Return lattice contrasts and texture of one tile."""
    return np.concatenate([lattice_contrasts(log_spectrum(tile, spec)), texture(tile)])


def texture(tile: npt.NDArray[np.uint8]) -> Float64Array:
    """Return the roots of the shares of patterns in one tile, (408,)."""
    pixels = tile.astype(np.int64)
    ways = [(distance, axis) for distance in (1, 2) for axis in (1, 0)]
    colours, runs = [], []
    for distance, axis in ways:
        # Every fifth row; of a row it starts at `distance`, as what lies around it does down.
        here = np.moveaxis(pixels if axis == 0 else pixels[distance::5], axis, 0)
        taken = slice(None, None, 5 if axis == 0 else 1)
        one, other = here[:-distance], here[distance:]
        first = other - one
        second = (first[distance:] - first[:-distance])[taken] / (1.0, 2.5)[distance - 1]
        colours.append(_counted(second.reshape(-1, 3)))
        steps = first.sum(axis=2)
        row = np.stack([steps[at * distance : len(steps) - (2 - at) * distance] for at in range(3)])
        runs.append(_counted(row[:, taken].reshape(3, -1).T / (7.0, 13.0)[distance - 1]))
    shares = [_shares(values, both_ways=False) for values in colours]
    shares += [_shares(values, both_ways=True) for values in runs]
    return np.sqrt(np.concatenate(shares))


def _counted(values: Float64Array) -> npt.NDArray[np.int64]:
    """Return whole numbers -2..2: patterns, (count, 3)."""
    return np.clip(np.floor(values + 0.5), -2, 2).astype(np.int64)


def _shares(values: npt.NDArray[np.int64], *, both_ways: bool) -> Float64Array:
    """Return the share of each kind of pattern, kinds in the order of their smallest number."""
    kinds: Counter[int] = Counter()
    every = [(a, b, c) for a in range(-2, 3) for b in range(-2, 3) for c in range(-2, 3)]
    patterns, counts = np.unique(values, axis=0, return_counts=True)
    for pattern in every:
        kinds[_kind(pattern, both_ways=both_ways)] = 0
    for (a, b, c), count in zip(patterns.tolist(), counts.tolist(), strict=True):
        kinds[_kind((a, b, c), both_ways=both_ways)] += count
    return np.array([kinds[kind] for kind in sorted(kinds)]) / len(values)


def _kind(pattern: tuple[int, int, int], *, both_ways: bool) -> int:
    """Return the smallest number of what a pattern is counted with."""
    number = abs(25 * pattern[0] + 5 * pattern[1] + pattern[2])
    backwards = abs(25 * pattern[2] + 5 * pattern[1] + pattern[0])
    return min(number, backwards) if both_ways else number


def probe_tiles(size_px: int) -> RgbTiles:
    """Draw tiles that span what a fingerprint meets.

    White noise, the full range in a checkerboard and in single pixels, slow ramps, a soft
    photograph-like scene with sensor noise, one with hard edges, a JPEG-like grid of 8 px blocks,
    and dim noise of two grey levels.

    Returns:
        (8, size, size, 3), uint8.
    """
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:size_px, 0:size_px].astype(np.float64)
    full = random.uniform(0, 256, (size_px, size_px, 3))
    checker = np.broadcast_to(((x + y) % 2 * 255)[..., None], full.shape)
    specks = np.where(random.uniform(size=full.shape) < 0.01, 255.0, 20.0)
    ramp = np.stack([x, y, x + y], axis=2) * (255.0 / (2 * size_px))
    scene = _natural(random, size_px)
    edges = np.where(scene > np.median(scene, axis=(0, 1)), 200.0, 60.0)
    blocks = scene[(y // 8 * 8).astype(int), (x // 8 * 8).astype(int)]
    dim = 128 + random.integers(0, 2, full.shape)
    noisy = scene + random.normal(0.0, 2.0, scene.shape)
    drawn = [full, checker, specks, ramp, noisy, edges, blocks, dim]
    return np.stack([np.clip(np.rint(image), 0, 255).astype(np.uint8) for image in drawn])


def _natural(random: np.random.Generator, size_px: int) -> Float64Array:
    """Draw noise whose amplitude falls as 1 / frequency, as in photographs; correlated colours."""
    frequency = np.hypot(np.fft.fftfreq(size_px)[:, None], np.fft.fftfreq(size_px)[None, :])
    fall = 1.0 / np.maximum(frequency, 1.0 / size_px)
    fields = random.standard_normal((4, size_px, size_px))
    smooth = np.fft.ifft2(np.fft.fft2(fields) * fall).real
    smooth /= smooth.std(axis=(1, 2), keepdims=True)
    channels = [0.9 * smooth[0] + 0.4 * smooth[1 + channel] for channel in range(3)]
    return np.clip(120.0 + 50.0 * np.stack(channels, axis=2), 0, 255)
