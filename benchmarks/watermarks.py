"""How often a watermark is claimed that is there, and one that is not.

    pip install --no-deps invisible-watermark PyWavelets
    python benchmarks/watermarks.py ../shared/photos ../shared/photos_native ../shared/generated

Every image is read from several corners, which moves its blocks and so makes further images without
a mark. One image of a set in `--marked-of` is marked by the package with every known payload,
handled, and read again; to mark, the package needs torch.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from _record import finish, parser_of, quantiles_ms, settings_of, times_ms
from lineup.finding import find_images
from lineup.imaging.operations import operation_from_text
from lineup.origin.watermarks import (
    MIN_PIXELS,
    Carrier,
    Mark,
    known_marks,
    watermark_from_pixels,
)
from lineup.reading import read_image
from lineup.types import AnyArray, RgbImage

CORNERS_PX = ((0, 0), (1, 0), (0, 3), (2, 5), (4, 4), (8, 8))
FULL_CHROMA = "jpeg:90 4:4:4"
HANDLED = (
    FULL_CHROMA,
    *("jpeg:95", "jpeg:90", "jpeg:75", "webp:90", "resize:0.75", "resize:2", "crop:0.9"),
)
MARKED_SIDE_PX = 1024
TIMED_SIDES_PX = (512, 1024, 2048)


def marked(pixels: RgbImage, mark: Mark) -> RgbImage:
    """Return an image as the writer of a mark saves it."""
    from imwatermark import WatermarkEncoder  # noqa: PLC0415 - loads torch

    given: AnyArray = pixels if mark.carrier is Carrier.SWAPPED_FLOATS else pixels[..., ::-1]
    if mark.carrier is not Carrier.BYTES:
        given = given.astype(np.float32)
    encoder = WatermarkEncoder()
    encoder.set_watermark("bits", mark.payload.astype(int).tolist())
    made = encoder.encode(np.ascontiguousarray(given), "dwtDct")
    rgb = made if mark.carrier is Carrier.SWAPPED_FLOATS else made[..., ::-1]
    return np.ascontiguousarray(np.rint(np.clip(rgb, 0, 255)).astype(np.uint8))


def handled(pixels: RgbImage, operation: str) -> RgbImage:
    """Return what an operation makes of an image."""
    if operation != FULL_CHROMA:
        return operation_from_text(operation)(pixels)
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90, subsampling=0)
    return np.asarray(Image.open(stream).convert("RGB"))


def false_claims(images: Iterator[tuple[Path, RgbImage]]) -> dict[str, Any]:
    """Read unmarked images from every corner; say what is claimed."""
    claims, count = [], 0
    for path, pixels in images:
        for down, right in CORNERS_PX:
            seen = np.ascontiguousarray(pixels[down:, right:])
            found = watermark_from_pixels(seen)
            count += seen.shape[0] * seen.shape[1] >= MIN_PIXELS
            if found is not None:
                claims.append(f"{path.name} from {down}, {right}: {found}")
    return {"read": count, "claimed": claims}


def recall(images: Iterator[tuple[Path, RgbImage]]) -> dict[str, Any]:
    """Mark images, handle them, and count which mark is claimed."""
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    count = 0
    for _, pixels in images:
        image = np.ascontiguousarray(pixels[:MARKED_SIDE_PX, :MARKED_SIDE_PX])
        count += 1
        for mark in known_marks():
            with_mark = marked(image, mark)
            for operation in ("as saved", *HANDLED):
                seen = with_mark if operation == "as saved" else handled(with_mark, operation)
                found = watermark_from_pixels(seen)
                name = f"{mark.name} ({mark.carrier.value}), {operation}"
                right[name] += found is not None and found.name == mark.name
                wrong[name] += found is not None and found.name != mark.name
    return {"marked": count, "claimed": dict(right), "claimed_as_another": dict(+wrong)}


def times(pixels: RgbImage, repeat: int) -> dict[str, Any]:
    """Time an image without a mark, at several sizes."""
    found = {}
    for side in TIMED_SIDES_PX:
        image = np.asarray(cv2.resize(pixels, (side, side)), np.uint8)
        read = partial(watermark_from_pixels, image)
        found[f"{side}px"] = quantiles_ms(times_ms(read, repeat))
    return found


def main() -> None:
    """Measure and print what came out."""
    parser = parser_of(__doc__)
    parser.add_argument("images", nargs="+", metavar="IMAGES", help="files or folders")
    parser.add_argument("--marked-of", type=int, default=60)
    parser.add_argument("--repeat", type=int, default=50)
    arguments = parser.parse_args()
    paths = list(find_images(arguments.images))
    results: dict[str, Any] = {
        "unmarked": false_claims((path, read_image(path).pixels) for path in paths),
        "times": times(read_image(paths[0]).pixels, arguments.repeat),
        "marked": recall((path, read_image(path).pixels) for path in paths[:: arguments.marked_of]),
    }
    settings = {"images": len(paths), **settings_of(arguments, "marked_of", "repeat")}
    finish("watermarks", settings, results, record=arguments.record)
    sys.exit(1 if results["unmarked"]["claimed"] else 0)


if __name__ == "__main__":
    main()
