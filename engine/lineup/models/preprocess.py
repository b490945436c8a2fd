"""From an image to the pixel values that a model was trained on, as its manifest says.

Resizing is left to Pillow, on which the image processors of transformers rest, and the arithmetic
follows theirs in order and precision: for the same settings the values are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from lineup.errors import BundleFormatError
from lineup.types import Float32Array, RgbImage

if TYPE_CHECKING:
    from lineup.bundles.bundle import Bundle

MAX_ASPECT = 32
"""A strip longer than this many times its width is cut about its centre before a centre crop.

Resized whole, an image of 1 x 30000 pixels would take gigabytes to yield the same square.
"""


class ResizeMode(str, Enum):
    """How an image gets the size that the graph takes."""

    STRETCH = "stretch"
    SHORTEST_EDGE_CROP = "shortest_edge_crop"
    LONGEST_EDGE_PAD = "longest_edge_pad"


_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "area": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True, slots=True)
class ImagePreprocess:
    """What happens to an image before a graph.

    The fields are those of `lineup.bundles.info.Preprocess`, none of them absent. All filters but
    "nearest" widen when the image shrinks.
    """

    width_px: int
    height_px: int
    resize_mode: ResizeMode
    interpolation: str
    value_range: tuple[float, float]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    colour_order: str

    def value_table(self) -> Float32Array:
        """Return what every stored value becomes, shape (3, 256), float32, by channel of the graph.

        Rounded where transformers rounds: once after scaling, then in float32.
        """
        low, high = self.value_range
        scaled = (np.arange(256) * ((high - low) / 255) + low).astype(np.float32)
        mean, std = (np.array(values, np.float32)[:, None] for values in (self.mean, self.std))
        return np.asarray((scaled - mean) / std, np.float32)


def preprocess_from_bundle(bundle: Bundle) -> ImagePreprocess:
    """Read how a bundle wants its images.

    Raises:
        BundleFormatError: A field is absent, or asks for what is not done here; names the field.
    """
    _check_field(bundle, "layout", ["NCHW"])
    _check_field(bundle, "resize_mode", [mode.value for mode in ResizeMode])
    spec = ImagePreprocess(
        width_px=int(bundle.preprocess("width_px")),
        height_px=int(bundle.preprocess("height_px")),
        resize_mode=ResizeMode(bundle.preprocess("resize_mode")),
        interpolation=str(bundle.preprocess("interpolation")),
        value_range=tuple(bundle.preprocess("value_range")),
        mean=tuple(bundle.preprocess("mean")),
        std=tuple(bundle.preprocess("std")),
        colour_order=str(bundle.preprocess("colour_order")),
    )
    _check_field(bundle, "interpolation", list(_FILTERS))
    # Pillow's filters widen by themselves, its nearest neighbour never does.
    _check_field(bundle, "antialias", [spec.interpolation != "nearest"])
    if spec.resize_mode is ResizeMode.SHORTEST_EDGE_CROP:
        _check_field(bundle, "crop", ["center"])
        # Which edge is the shortest one of a target that is no square is a matter of taste.
        _check_field(bundle, "height_px", [spec.width_px])
    if 0 in spec.std:
        raise _field_error(bundle, "std", list(spec.std), "numbers other than 0")
    return spec


def pixel_values_from_images(images: Sequence[RgbImage], spec: ImagePreprocess) -> Float32Array:
    """Turn images into the input of a graph.

    Args:
        images: Shape (height, width, 3), uint8 RGB, as decoded; sizes may differ.
        spec: What the model was trained on.

    Returns:
        Shape (images, 3, height_px, width_px), float32, channels in the order of the spec.
    """
    values = np.empty((len(images), 3, spec.height_px, spec.width_px), np.float32)
    table = spec.value_table()
    channels = (2, 1, 0) if spec.colour_order == "BGR" else (0, 1, 2)
    for row, image in zip(values, images, strict=True):
        resized = resized_from_image(image, spec)
        for position, channel in enumerate(channels):
            np.take(table[position], resized[..., channel], out=row[position])
    return values


def resized_from_image(image: RgbImage, spec: ImagePreprocess) -> RgbImage:
    """Give an image the size of the spec.

    Args:
        image: Shape (height, width, 3), uint8 RGB.
        spec: Size, mode and filter. A crop and a padding are centred; padding is black, 0.

    Returns:
        Shape (height_px, width_px, 3), uint8 RGB.
    """
    if spec.resize_mode is ResizeMode.STRETCH:
        return _resized(image, spec.width_px, spec.height_px, spec.interpolation)
    if spec.resize_mode is ResizeMode.SHORTEST_EDGE_CROP:
        return _cropped(image, spec.width_px, spec.interpolation)
    return _padded(image, spec)


def _cropped(image: RgbImage, size_px: int, interpolation: str) -> RgbImage:
    """Resize the shortest edge to the size and take the square in the centre."""
    shortest = min(image.shape[:2])
    image = _centre(image, *(min(side, MAX_ASPECT * shortest) for side in image.shape[:2]))
    height, width = (
        size_px if side == shortest else int(size_px * side / shortest) for side in image.shape[:2]
    )
    return _centre(_resized(image, width, height, interpolation), size_px, size_px)


def _padded(image: RgbImage, spec: ImagePreprocess) -> RgbImage:
    """Fit the image inside the size and surround it with black; as Pillow's `ImageOps.pad`."""
    height, width = image.shape[:2]
    scale = min(spec.width_px / width, spec.height_px / height)
    inner_width, inner_height = (
        # At least one pixel is left of the thinnest strip; the rounding must not exceed the size.
        min(limit, max(1, round(side * scale)))
        for side, limit in ((width, spec.width_px), (height, spec.height_px))
    )
    top = round((spec.height_px - inner_height) / 2)
    left = round((spec.width_px - inner_width) / 2)
    canvas = np.zeros((spec.height_px, spec.width_px, 3), np.uint8)
    inner = _resized(image, inner_width, inner_height, spec.interpolation)
    canvas[top : top + inner_height, left : left + inner_width] = inner
    return canvas


def _centre(image: RgbImage, height_px: int, width_px: int) -> RgbImage:
    top, left = (image.shape[0] - height_px) // 2, (image.shape[1] - width_px) // 2
    return image[top : top + height_px, left : left + width_px]


def _resized(image: RgbImage, width_px: int, height_px: int, interpolation: str) -> RgbImage:
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((width_px, height_px), _FILTERS[interpolation]))


def _check_field(bundle: Bundle, key: str, allowed: Sequence[object]) -> None:
    value = bundle.preprocess(key)
    if value not in allowed:
        raise _field_error(bundle, key, value, " or ".join(map(repr, allowed)))


def _field_error(bundle: Bundle, key: str, value: object, expected: str) -> BundleFormatError:
    return BundleFormatError(
        f"{bundle.path}: preprocess.{key}: {value!r}, but expected {expected} here",
        hint="This runtime cannot prepare images that way; export the bundle with another setting.",
    )
