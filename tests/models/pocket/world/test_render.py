from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from lineup_models.pocket.world.grammar import (
    Background,
    Camera,
    Colour,
    Group,
    Kind,
    Light,
    Material,
    Relation,
    Scene,
    Size,
)
from lineup_models.pocket.world.light import HSV_RANGES
from lineup_models.pocket.world.render import body_masks_from_scene, pixels_from_scene
from lineup_models.pocket.world.scene import scene_from_seed

BALL = Group(Kind.BALL, Colour.RED, Size.LARGE, Material.MATTE, 1)
CUBES = Group(Kind.CUBE, Colour.BLUE, Size.LARGE, Material.MATTE, 2)
PAIR = Scene(BALL, Relation.LEFT, CUBES, Background.SNOW, Light.NOON, Camera.ORDINARY)


def test_pictures_are_reproducible() -> None:
    first = pixels_from_scene(PAIR, 5)

    assert first.shape == (256, 256, 3)
    assert first.dtype == np.uint8
    assert first.flags.c_contiguous
    np.testing.assert_array_equal(first, pixels_from_scene(PAIR, 5))


def test_pictures_are_the_same_in_another_process() -> None:
    code = (
        "import zlib;from lineup_models.pocket.world.render import pixels_from_scene;"
        "from lineup_models.pocket.world.scene import scene_from_seed;"
        "print(zlib.crc32(pixels_from_scene(scene_from_seed(11), 11).tobytes()))"
    )
    runs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
        for _ in range(2)
    }

    assert len(runs) == 1


def test_a_caption_does_not_determine_the_picture() -> None:
    first, second = (pixels_from_scene(PAIR, seed).astype(float) for seed in (1, 2))

    assert np.abs(first - second).mean() > 8


def test_the_same_seed_gives_other_noise_to_another_scene() -> None:
    other = replace(PAIR, camera=Camera.CLOSE_UP)
    flat = [
        np.subtract(p, cv2.GaussianBlur(p, (0, 0), 1), dtype=np.float32)[:40].ravel()
        for p in (pixels_from_scene(scene, 1) for scene in (PAIR, other))
    ]

    assert abs(np.corrcoef(flat[0], flat[1])[0, 1]) < 0.1


def test_size_changes_the_sampling_and_not_the_scene() -> None:
    small, large = (pixels_from_scene(PAIR, 3, size) for size in (128, 384))
    shrunk = cv2.resize(large, (32, 32), interpolation=cv2.INTER_AREA).astype(float)
    same = cv2.resize(small, (32, 32), interpolation=cv2.INTER_AREA).astype(float)

    assert np.corrcoef(shrunk.ravel(), same.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("colour", list(Colour))
def test_the_named_colour_is_seen(colour: Colour) -> None:
    ball = replace(BALL, colour=colour)
    scene = replace(PAIR, subject=ball, relation=None, other=None)
    for seed in range(3):
        pixels = pixels_from_scene(scene, seed)
        shown = pixels[body_masks_from_scene(scene, seed)[0] > 0.95]
        # The lit half: shadows are dark in every colour.
        lit = shown[shown.max(axis=1) >= np.median(shown.max(axis=1))]
        red, green, blue = np.median(lit, axis=0)
        hue, saturation, value = cv2.cvtColor(
            np.array([[[red, green, blue]]], np.float32) / 255, cv2.COLOR_RGB2HSV
        )[0, 0]
        if colour is Colour.WHITE:
            assert saturation < 0.2
            assert value > 0.65
        elif colour is Colour.BLACK:
            assert value < 0.35
        else:
            (low, high), _, _ = HSV_RANGES[colour]
            assert abs((hue - (low + high) / 2 + 180) % 360 - 180) < (high - low) / 2 + 14
            assert saturation > 0.2


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_shows_its_colour(kind: Kind) -> None:
    three = Group(kind, Colour.GREEN, Size.SMALL, Material.MATTE, 3)
    scene = Scene(three, None, None, Background.STUDIO, Light.FROM_LEFT, Camera.ORDINARY)
    for seed in range(4):
        mask = body_masks_from_scene(scene, seed)[0]
        assert mask.sum() > 600
        assert mask.max() <= 1.0001


def test_the_lamp_shines_from_the_named_side() -> None:
    alone = replace(PAIR, relation=None, other=None, background=Background.STUDIO)
    for light, side in ((Light.FROM_LEFT, 1), (Light.FROM_RIGHT, -1)):
        scene = replace(alone, light=light)
        pixels = pixels_from_scene(scene, 4).astype(float).mean(axis=2)
        mask = body_masks_from_scene(scene, 4)[0]
        columns = np.arange(256)[None] - (mask * np.arange(256)).sum() / mask.sum()
        left, right = (pixels[(mask > 0.9) & (columns * way > 8)].mean() for way in (-1, 1))
        assert (left - right) * side > 10


def test_hours_differ_in_brightness_and_tint() -> None:
    means = {}
    for light in (Light.NOON, Light.EVENING, Light.NIGHT):
        scene = replace(PAIR, light=light)
        pictures = [pixels_from_scene(scene, seed) for seed in range(3)]
        means[light] = np.mean(pictures, axis=(0, 1, 2))

    assert means[Light.NIGHT].mean() < 0.7 * means[Light.NOON].mean()
    warmth = {light: mean[0] / mean[2] for light, mean in means.items()}
    assert warmth[Light.EVENING] > 1.1 * warmth[Light.NOON]
    assert warmth[Light.NIGHT] < warmth[Light.NOON]


@pytest.mark.parametrize("background", list(Background))
def test_every_place_is_painted_with_detail_and_noise(background: Background) -> None:
    light = Light.FROM_LEFT if background.indoors else Light.NIGHT
    scene = replace(PAIR, background=background, light=light)

    grey = cv2.cvtColor(pixels_from_scene(scene, 9), cv2.COLOR_RGB2GRAY).astype(np.float32)

    assert grey.std() > 4
    assert np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 1)).mean() > 0.4


def test_a_soft_focus_is_softer() -> None:
    def sharpness(camera: Camera) -> float:
        grey = [
            cv2.cvtColor(pixels_from_scene(replace(PAIR, camera=camera), s), cv2.COLOR_RGB2GRAY)
            for s in range(4)
        ]
        return float(np.mean([cv2.Laplacian(g, cv2.CV_32F).var() for g in grey]))

    assert sharpness(Camera.SOFT_FOCUS) < 0.7 * sharpness(Camera.ORDINARY)


def test_the_spectrum_falls_as_that_of_photographs() -> None:
    window = np.outer(np.hanning(256), np.hanning(256))
    power = np.zeros((256, 256))
    for seed in range(12):
        grey = pixels_from_scene(scene_from_seed(seed), seed).mean(axis=2)
        power += np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(256, 1 / 256), np.fft.fftfreq(256, 1 / 256)))
    octaves = [power[(radius >= low) & (radius < 2 * low)].mean() for low in (4, 8, 16, 32)]
    slope = np.polyfit(np.log2([4, 8, 16, 32]), np.log2(octaves), 1)[0]

    # Photographs: about -2 in power, between -1.6 and -3 from picture to picture.
    assert -3.2 < slope < -1.6
