"""Support and queries of one source: two disjoint parts of its images, drawn from a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lineup.errors import UsageError
from lineup_lab.evaluation.dataset import LabelledSource


@dataclass(frozen=True, slots=True)
class SupportSize:
    """How much of each source becomes support.

    Attributes:
        value: A share of the source's images, 0..1 exclusive, or a number of images, at least 1.
        is_share: Which of the two `value` is.
    """

    value: float
    is_share: bool

    def count(self, images: int) -> int:
        """Return the number of support images of a source with `images` images.

        A share is rounded to the nearest image, half up, and leaves at least one image on either
        side.
        """
        if not self.is_share:
            return int(self.value)
        return min(max(int(self.value * images + 0.5), 1), images - 1)


@dataclass(frozen=True, slots=True)
class Split:
    """Rows of one source, disjoint by content.

    Attributes:
        support: Row numbers of the support, shape (S,).
        queries: Row numbers of the queries, shape (Q,).
    """

    support: npt.NDArray[np.intp]
    queries: npt.NDArray[np.intp]


def support_size_from_text(text: str) -> SupportSize:
    """Parse `0.5` (half of each source) or `100` (100 images of each source).

    Raises:
        UsageError: Neither a share between 0 and 1 nor a whole number from 1.
    """
    try:
        is_share = not text.strip().isdecimal()
        value = float(text)
    except ValueError:
        value, is_share = float("nan"), True
    if (0.0 < value < 1.0) if is_share else value >= 1.0:
        return SupportSize(value, is_share)
    raise UsageError(
        f"--support {text!r} is neither a share nor a count.",
        hint="Give a share between 0 and 1 (0.5: half of each source) or a whole number "
        "(100: that many images of each source).",
    )


def checked_support_count(name: str, images: int, support: SupportSize) -> int:
    """Return the size of a source's support.

    Raises:
        UsageError: No query would be left.
    """
    count = support.count(images)
    if count >= images:
        raise UsageError(
            f"--support {count} leaves no query: source {name!r} has {images} usable image(s).",
            hint="Give a smaller count, or a share such as 0.5.",
        )
    return count


def split_of_source(source: LabelledSource, support: SupportSize, seed: int) -> Split:
    """Draw support and queries of one source.

    Images are ordered by the hash of seed and content, so the draw depends on nothing else: not on
    file names, not on the other sources, not on a random generator's version.

    Raises:
        UsageError: A support count leaves no query.
    """
    images = len(source.ids)
    support_count = checked_support_count(source.name, images, support)
    keys = [hashlib.sha256(f"{seed}:{image_id}".encode()).digest() for image_id in source.ids]
    order = np.array(sorted(range(images), key=keys.__getitem__), dtype=np.intp)
    return Split(support=order[:support_count], queries=order[support_count:])


def splits_of_sources(
    sources: Sequence[LabelledSource], support: SupportSize, seed: int
) -> dict[str, Split]:
    """Draw support and queries of every source, by name.

    Raises:
        UsageError: A support count leaves no query.
    """
    return {source.name: split_of_source(source, support, seed) for source in sources}
