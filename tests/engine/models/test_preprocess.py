"""Pixel values against the image processors of transformers, built from settings alone."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from lineup.errors import BundleFormatError
from lineup.models.preprocess import (
    ImagePreprocess,
    ResizeMode,
    pixel_values_from_images,
    preprocess_from_bundle,
    resized_from_image,
)

SIZES = [(224, 224), (300, 200), (199, 640), (100, 37), (640, 480), (225, 223), (31, 900)]
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
FIELDS = {
    "width_px": 224,
    "height_px": 224,
    "resize_mode": "shortest_edge_crop",
    "interpolation": "bicubic",
    "antialias": True,
    "crop": "center",
    "mean": list(CLIP_MEAN),
    "std": list(CLIP_STD),
    "value_range": [0, 1],
    "colour_order": "RGB",
    "layout": "NCHW",
}


class ToyBundle:
    """The two members of a bundle that are read."""

    path = Path("toy")

    def __init__(self, fields):
        self._fields = fields

    def preprocess(self, key):
        if key not in self._fields:
            raise BundleFormatError(f"preprocess.{key}: missing")
        return self._fields[key]


def spec_from(**changes):
    return preprocess_from_bundle(ToyBundle({**FIELDS, **changes}))


def noise(height, width):
    """Smooth and sharp parts, so that filters differ."""
    rng = np.random.default_rng(height * 1000 + width)
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def values_from_processor(processor, images):
    return np.stack([processor(image, return_tensors="np")["pixel_values"][0] for image in images])


@pytest.fixture(scope="module")
def images():
    return [noise(*size) for size in SIZES]


@pytest.mark.parametrize("size_px", [224, 336, 75])
def test_clip(images, size_px):
    from transformers import CLIPImageProcessor

    processor = CLIPImageProcessor(
        size={"shortest_edge": size_px}, crop_size={"height": size_px, "width": size_px}
    )

    values = pixel_values_from_images(images, spec_from(width_px=size_px, height_px=size_px))

    assert values.dtype == np.float32
    assert np.abs(values - values_from_processor(processor, images)).max() <= 1e-6


def test_blip(images):
    from transformers import BlipImageProcessor

    spec = spec_from(resize_mode="stretch", width_px=384, height_px=384)
    values = pixel_values_from_images(images, spec)

    expected = values_from_processor(BlipImageProcessor(), images)
    assert np.abs(values - expected).max() <= 1e-6


@pytest.mark.parametrize(
    ("interpolation", "resample"), [("bilinear", 2), ("nearest", 0), ("lanczos", 1), ("area", 4)]
)
def test_vit(images, interpolation, resample):
    from transformers import ViTImageProcessor

    processor = ViTImageProcessor(size={"height": 96, "width": 160}, resample=resample)
    spec = spec_from(
        resize_mode="stretch",
        width_px=160,
        height_px=96,
        interpolation=interpolation,
        antialias=interpolation != "nearest",
        mean=[0.5] * 3,
        std=[0.5] * 3,
    )

    values = pixel_values_from_images(images, spec)

    assert np.abs(values - values_from_processor(processor, images)).max() <= 1e-6


def test_a_value_range_of_minus_one_to_one_is_a_mean_and_std_of_one_half(images):
    half = spec_from(mean=[0.5] * 3, std=[0.5] * 3)
    ranged = spec_from(mean=[0] * 3, std=[1] * 3, value_range=[-1, 1])

    values = pixel_values_from_images(images, ranged)

    np.testing.assert_allclose(values, pixel_values_from_images(images, half), atol=1e-6)
    assert (values.min(), values.max()) == (-1, 1)


def test_means_belong_to_the_channels_of_the_graph(images):
    plain = {"mean": [0.1, 0.2, 0.3], "std": [1, 2, 3]}
    turned = {"mean": [0.3, 0.2, 0.1], "std": [3, 2, 1], "colour_order": "BGR"}

    rgb = pixel_values_from_images(images, spec_from(**plain))
    bgr = pixel_values_from_images(images, spec_from(**turned))

    assert (bgr == rgb[:, ::-1]).all()


@pytest.mark.parametrize(("width_px", "height_px"), [(64, 64), (80, 33), (33, 80)])
def test_padding_is_that_of_pillow(images, width_px, height_px):
    spec = spec_from(resize_mode="longest_edge_pad", width_px=width_px, height_px=height_px)

    for image in images:
        expected = ImageOps.pad(
            Image.fromarray(image), (width_px, height_px), Image.Resampling.BICUBIC
        )
        assert (resized_from_image(image, spec) == np.asarray(expected)).all()


@pytest.mark.parametrize("mode", list(ResizeMode))
@pytest.mark.parametrize("size", [(1, 30000), (30000, 1), (1, 1)])
def test_strips_take_little_memory_and_keep_a_pixel(mode, size):
    white = np.full((*size, 3), 255, np.uint8)

    resized = resized_from_image(white, spec_from(resize_mode=mode.value))

    assert resized.shape == (224, 224, 3)
    assert resized.max() == 255


def test_no_image():
    assert pixel_values_from_images([], spec_from()).shape == (0, 3, 224, 224)


@pytest.mark.parametrize("key", sorted(FIELDS))
def test_a_missing_field_is_named(key):
    fields = {name: value for name, value in FIELDS.items() if name != key}

    with pytest.raises(BundleFormatError, match=rf"preprocess\.{key}\b"):
        preprocess_from_bundle(ToyBundle(fields))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("layout", "NHWC"),
        ("resize_mode", "none"),
        ("antialias", False),
        ("height_px", 225),
        ("std", [0.2, 0, 0.2]),
    ],
)
def test_what_is_not_done_here_is_refused_by_name(key, value):
    with pytest.raises(BundleFormatError, match=rf"preprocess\.{key}\b.*expected"):
        spec_from(**{key: value})


def test_a_crop_is_not_asked_for_where_nothing_is_cropped():
    fields = {name: value for name, value in FIELDS.items() if name != "crop"}

    spec = preprocess_from_bundle(ToyBundle({**fields, "resize_mode": "stretch"}))

    assert spec == ImagePreprocess(
        224, 224, ResizeMode.STRETCH, "bicubic", (0, 1), CLIP_MEAN, CLIP_STD, "RGB"
    )
