"""Remake the marked images of this folder, as the writers of each mark make them.

`pip install --no-deps invisible-watermark==0.2.0 PyWavelets && python make_marked.py`

The tests cannot make them: the package pulls torch and a second OpenCV; only `maxDct.py` is loaded.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

FOLDER = Path(__file__).parent
sys.path.append(str(FOLDER.parents[3] / "engine"))
sys.path.append(str(Path(find_spec("imwatermark").origin).parent))

from maxDct import EmbedMaxDct  # noqa: E402

from lineup.origin.watermarks import Carrier, known_marks  # noqa: E402


def picture() -> np.ndarray:
    """Return a smooth scene with a clipped sky, shape (258, 270, 3), uint8 BGR."""
    rng = np.random.default_rng(0)
    scene = cv2.resize(
        rng.uniform(40, 215, (6, 7, 3)).astype(np.float32), (270, 258), None, 0, 0, cv2.INTER_CUBIC
    )
    scene[:40] = 255
    return np.clip(np.rint(scene), 0, 255).astype(np.uint8)


def marked(bgr: np.ndarray, bits: list[int], carrier: Carrier) -> np.ndarray:
    """Return a picture as the writers of a mark save it, uint8 BGR."""
    swapped = carrier is Carrier.SWAPPED_FLOATS
    given = bgr[..., ::-1] if swapped else bgr
    if carrier is not Carrier.BYTES:
        given = given.astype(np.float32)
    made = EmbedMaxDct(bits, wmLen=len(bits)).encode(np.ascontiguousarray(given))
    return np.rint(np.clip(made[..., ::-1] if swapped else made, 0, 255)).astype(np.uint8)


def write(name: str, bgr: np.ndarray) -> None:
    """Write a lossless file."""
    cv2.imwrite(str(FOLDER / f"{name}.webp"), bgr, [cv2.IMWRITE_WEBP_QUALITY, 101])


write("none", picture())
for mark in known_marks():
    name = f"{mark.name} {mark.carrier.value}".replace(",", "").replace(" ", "-").lower()
    write(name, marked(picture(), mark.payload.astype(int).tolist(), mark.carrier))
