"""How close a query is to resyntheses, and how several closenesses become one score.

Every function returns closeness: higher is closer, whatever the distance is called. Distances
without a usual similarity (euclidean, manhattan) are negated; cosine and correlation are given as
the similarity itself, which is one minus the distance and ranks alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from lineup.options import Aggregate, Distance
from lineup.types import AnyArray, Float32Array, Float64Array, RgbImage

SSIM_WINDOW_PX = 11
SSIM_SIGMA_PX = 1.5
SSIM_K1 = 0.01
SSIM_K2 = 0.03
SSIM_RANGE = 255.0


def feature_closeness(
    query: Float32Array, features: Float32Array, distance: Distance
) -> Float64Array:
    """Compare features.

    Args:
        query: Shape (D,), float32, L2-normalised.
        features: Shape (N, D), float32, rows L2-normalised.
        distance: One that needs features; `HYBRID` gives its cosine part.

    Returns:
        Shape (N,), float64: cosine and correlation -1..1, euclidean -2..0, manhattan at most 0.
    """
    one, rows = query.astype(np.float64), features.astype(np.float64)
    if distance is Distance.EUCLIDEAN:
        return _float64(-np.linalg.norm(rows - one, axis=1))
    if distance is Distance.MANHATTAN:
        return _float64(-np.abs(rows - one).sum(axis=1))
    if distance is Distance.CORRELATION:
        one, rows = one - one.mean(), rows - rows.mean(axis=1, keepdims=True)
    return _cosines(one, rows)


def pixel_closeness(query: RgbImage, images: Sequence[RgbImage]) -> Float64Array:
    """Return the structural similarity of a query with each image, shape (N,), -1..1.

    The query is resized to an image of another size, because resyntheses have the native size of
    their generator.
    """
    values = []
    for image in images:
        height, width = image.shape[:2]
        resized = cv2.resize(query, (width, height), interpolation=cv2.INTER_AREA)
        values.append(ssim(np.asarray(resized, np.uint8), image))
    return np.asarray(values, np.float64)


def ssim(first: RgbImage, second: RgbImage) -> float:
    """Return the mean structural similarity of two images, -1..1.

    Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004,
    equation 13, with the constants given there: gaussian window of 11x11 with sigma 1.5, K1 0.01,
    K2 0.03, on luma (ITU-R BT.601), averaged where the window lies inside of the image.

    Args:
        first: Shape (H, W, 3), uint8 RGB, both sides at least 11.
        second: Of the same shape.

    Raises:
        ValueError: Shapes differ, or a side is below the window.
    """
    if first.shape != second.shape or min(first.shape[:2]) < SSIM_WINDOW_PX:
        raise ValueError(
            f"structural similarity needs two images of one size of at least {SSIM_WINDOW_PX} px, "
            f"got {first.shape} and {second.shape}"
        )
    x, y = _luma(first), _luma(second)
    mean_x, mean_y = _windowed(x), _windowed(y)
    variance_x = _windowed(x * x) - mean_x**2
    variance_y = _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    c1, c2 = (SSIM_K1 * SSIM_RANGE) ** 2, (SSIM_K2 * SSIM_RANGE) ** 2
    likeness = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    scale = (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    return float(np.mean(likeness / scale))


def aggregated(closeness: AnyArray, aggregate: Aggregate) -> float:
    """Return one score from the closenesses to several images, shape (N,), N at least 1."""
    return float(np.mean(closeness) if aggregate is Aggregate.MEAN else np.max(closeness))


def softmax(scores: Sequence[float]) -> list[float]:
    """Return probabilities that sum to 1; of negated distances, what arXiv 2510.24278 reports."""
    values = np.asarray(scores, np.float64)
    weights = np.exp(values - values.max())
    return [float(weight) for weight in weights / weights.sum()]


def _cosines(query: Float64Array, rows: Float64Array) -> Float64Array:
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(query)
    # A constant feature has no direction: it correlates with nothing.
    return _float64((rows @ query) / np.maximum(lengths, np.finfo(np.float64).tiny))


def _luma(image: RgbImage) -> Float64Array:
    return _float64(image.astype(np.float64) @ np.array([0.299, 0.587, 0.114]))


def _windowed(values: Float64Array) -> Float64Array:
    """Return gaussian-weighted means where the whole window lies inside of the image."""
    kernel = cv2.getGaussianKernel(SSIM_WINDOW_PX, SSIM_SIGMA_PX, cv2.CV_64F)
    means = cv2.sepFilter2D(values, cv2.CV_64F, kernel, kernel)
    edge = SSIM_WINDOW_PX // 2
    return _float64(means[edge:-edge, edge:-edge])


def _float64(values: AnyArray) -> Float64Array:
    return np.asarray(values, np.float64)
