"""Draws the sample images that come with lineup: no photograph, no generator's output.

Scenes of soft shapes pass through two toy decoders that differ in how they upsample, which leaves
two different traces in the high frequencies, as the decoders of real generators do. A third set
is drawn at full size and passes through none. Run it with
`python -m lineup_models.samples --output DIR`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np
import numpy.typing as npt

from lineup.types import Float32Array, RgbImage

SIZE_PX = 320
"""Above one 256 px tile, so that the samples exercise tiling."""

DECODER_SEED = 11
"""Of the toy decoders' filters: fixed, as the weights of a generator are."""


@dataclass(frozen=True, slots=True)
class SketchSource:
    """A toy source of sample images.

    Attributes:
        name: As it is enrolled in the sample gallery; None for images of no enrolled source.
        stem: Start of the file names.
        decode: Doubles the size of a scene, float32 0..1; None draws at full size instead.
    """

    name: str | None
    stem: str
    decode: Callable[[Float32Array], Float32Array] | None


GRAIN, PAPER_GRAIN = 1.0, 6.0
"""Deviation of what is added to a sketch and to a drawing, in grey levels."""

SOFTNESS_PX = 0.7


def draw_image(source: SketchSource, seed: int) -> RgbImage:
    """Draw one image, shape (320, 320, 3), uint8 RGB; the same seed draws the same image."""
    rng = np.random.default_rng(seed)
    if source.decode is None:  # soft and grainy, as off paper: plain, it is a sketch at half size
        scene, grain = cv2.GaussianBlur(_scene(rng, SIZE_PX), (0, 0), SOFTNESS_PX), PAPER_GRAIN
    else:
        scene, grain = source.decode(_scene(rng, SIZE_PX // 2)), GRAIN
    pixels = scene + rng.normal(0, grain / 255, (SIZE_PX, SIZE_PX, 3))
    return np.clip(np.rint(pixels * 255), 0, 255).astype(np.uint8)


def _scene(rng: np.random.Generator, size_px: int) -> Float32Array:
    """Paint a gradient and a dozen shaded shapes, antialiased; (size, size, 3), float32, 0..1."""
    ramp = np.linspace(0, 1, size_px, dtype=np.float32)
    top, bottom = rng.uniform(0.2, 0.9, (2, 3)).astype(np.float32)
    canvas = np.ascontiguousarray(
        np.broadcast_to((top + (bottom - top) * ramp[:, None])[:, None], (size_px, size_px, 3))
    )
    for _ in range(12):
        mask = np.zeros((size_px, size_px), np.uint8)  # OpenCV antialiases 8-bit images only
        colour = rng.uniform(0, 1, 3).astype(np.float32)
        centre = tuple(rng.integers(0, size_px, 2).tolist())
        axes = tuple(rng.integers(size_px // 16, size_px // 3, 2).tolist())
        cv2.ellipse(mask, centre, axes, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
        shade = rng.uniform(0.4, 1.0) * (0.6 + 0.4 * ramp) * (mask / np.float32(255))
        canvas += shade[..., None].astype(np.float32) * (colour - canvas)
    texture = cv2.GaussianBlur(rng.normal(0, 0.04, canvas.shape).astype(np.float32), (0, 0), 0.8)
    return np.asarray(np.clip(canvas + texture, 0, 1), np.float32)


def _filters(channels: int, offset: int) -> Float32Array:
    """Return near-identity 3x3 filters of a toy decoder, shape (channels, 3, 3), sums of 1."""
    rng = np.random.default_rng(DECODER_SEED + offset)
    kernels = rng.normal(0, 0.05, (channels, 3, 3))
    kernels[:, 1, 1] += 1
    return np.asarray(kernels / kernels.sum(axis=(1, 2), keepdims=True), np.float32)


def _decode_nearest(scene: Float32Array) -> Float32Array:
    """Repeat every pixel, then filter: the upsampling of many diffusion decoders."""
    image = scene.repeat(2, axis=0).repeat(2, axis=1)
    kernels = _filters(3, offset=0)
    planes = [cv2.filter2D(image[..., c], -1, kernels[c]) for c in range(3)]
    return np.stack(planes, axis=-1)


def _decode_shuffle(scene: Float32Array) -> Float32Array:
    """Filter into four phases and interleave them: pixel shuffle, with its 2x2 lattice."""
    height, width = scene.shape[:2]
    image = np.empty((height * 2, width * 2, 3), np.float32)
    smooth = _bilinear_phases(scene)
    kernels = _filters(4, offset=1)
    for phase, (dy, dx) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        image[dy::2, dx::2] = cv2.filter2D(smooth[dy::2, dx::2], -1, kernels[phase])
    return image


def _bilinear_phases(scene: Float32Array) -> npt.NDArray[np.float32]:
    height, width = scene.shape[:2]
    doubled = cv2.resize(scene, (width * 2, height * 2), interpolation=cv2.INTER_LINEAR)
    return np.asarray(doubled, np.float32)


SOURCES = (
    SketchSource("sketch-nearest", "nearest", _decode_nearest),
    SketchSource("sketch-shuffle", "shuffle", _decode_shuffle),
    SketchSource(None, "drawing", None),
)


@click.command()
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder to fill.")
@click.option("--queries", default=2, show_default=True, help="Images of each source to scan.")
@click.option("--support", default=24, show_default=True, help="Images of each source to enrol.")
def main(output: Path, queries: int, support: int) -> None:
    """Write DIR/*.png to scan, and DIR/support/SOURCE/*.png to enrol."""
    for source in SOURCES:
        for seed in range(queries):
            _write(output / f"{source.stem}-{seed}.png", draw_image(source, seed))
        for seed in range(1000, 1000 + support if source.name else 1000):
            _write(output / "support" / source.stem / f"{seed}.png", draw_image(source, seed))


def _write(path: Path, pixels: RgbImage) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(".png", pixels[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
    path.write_bytes(encoded.tobytes())


if __name__ == "__main__":
    main()
