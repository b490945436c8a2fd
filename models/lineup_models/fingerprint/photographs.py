"""Which photographs a fit may see, and in how many versions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lineup.errors import UsageError
from lineup.finding import find_images
from lineup.types import RgbImage

HOLD_OUT_RULE = "lowest sha256 of the file name"


@dataclass(frozen=True, slots=True)
class PhotographSplit:
    """Photographs of a folder, parted by a rule that does not depend on where the folder lies.

    Attributes:
        fit: Files to fit on, sorted.
        held_out: Files that no fit may see, sorted.
    """

    fit: tuple[Path, ...]
    held_out: tuple[Path, ...]


def split_photographs(folder: Path, hold_out: int) -> PhotographSplit:
    """Part the photographs of a folder.

    Args:
        folder: Searched recursively.
        hold_out: How many to keep apart: those whose file names have the lowest SHA-256.

    Raises:
        UsageError: Fewer than two photographs are left to fit on.
    """
    paths = sorted(find_images([folder]))
    ranked = sorted(paths, key=lambda path: (hashlib.sha256(path.name.encode()).hexdigest(), path))
    held_out, fit = ranked[:hold_out], ranked[hold_out:]
    if len(fit) < 2:
        raise UsageError(
            f"{folder} holds {len(paths)} photographs and {hold_out} are held out; "
            "the fit needs at least two of the others.",
            hint="Name a folder with more photographs, or lower --hold-out.",
        )
    return PhotographSplit(fit=tuple(sorted(fit)), held_out=tuple(sorted(held_out)))


def versions_of_photograph(
    pixels: RgbImage, name: str, *, jpeg_copies: int, quality: Sequence[int], seed: int
) -> Iterator[RgbImage]:
    """Yield the photograph, then copies of it as JPEG compression leaves them.

    Args:
        pixels: The photograph.
        name: Its file name; with `seed` it fixes the qualities, whatever else is fitted on.
        jpeg_copies: How many copies.
        quality: Lowest and highest JPEG quality, both included; drawn uniformly.
        seed: Of the qualities.
    """
    yield pixels
    key = hashlib.sha256(name.encode()).digest()[:8]
    random = np.random.default_rng([seed, int.from_bytes(key, "little")])
    for drawn in random.integers(quality[0], quality[1], size=jpeg_copies, endpoint=True):
        yield _through_jpeg(pixels, int(drawn))


def _through_jpeg(pixels: RgbImage, quality: int) -> RgbImage:
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)
