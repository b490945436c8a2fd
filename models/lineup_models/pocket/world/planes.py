"""Pictures as planes: linear RGB, float32 (3, rows, columns), and colours as (3, 1, 1)."""

from __future__ import annotations

import cv2
import numpy as np

from lineup.types import AnyArray, Float32Array


def mixed(first: Float32Array, second: Float32Array, share: AnyArray) -> Float32Array:
    """Return first + share (second - first): planes or colours, share (rows, columns)."""
    blend = np.asarray(share * (second - first), np.float32)
    blend += first
    return blend


def blurred(planes: Float32Array, sigma_px: float) -> Float32Array:
    """Return planes after a Gaussian blur of this standard deviation."""
    return np.stack([cv2.GaussianBlur(plane, (0, 0), sigma_px) for plane in planes])


def colour_from_rgb(red: float, green: float, blue: float) -> Float32Array:
    """Return a colour, float32 (3, 1, 1)."""
    return np.array([red, green, blue], np.float32).reshape(3, 1, 1)


def coverage(edge_px: AnyArray) -> Float32Array:
    """Return how much of a pixel lies inside of an edge `edge_px` pixels away (inside positive)."""
    return np.asarray(np.clip(edge_px + 0.5, 0, 1), np.float32)
