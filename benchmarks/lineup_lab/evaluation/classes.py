"""Classes of labelled sources: which are known, which are left out, which are photographs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lineup.errors import UsageError
from lineup.results import REAL
from lineup.types import Float32Array
from lineup_lab.evaluation.dataset import LabelledSource

MIN_KNOWN = 2


def class_of(name: str, real: Sequence[str]) -> str:
    """Return the class of a source: its own, or `real` for photographs."""
    return REAL if name in real else name


def checked_unknown(
    names: Sequence[str], unknown: Sequence[str], real: Sequence[str]
) -> tuple[str, ...]:
    """Return the unknown sources, each once.

    Args:
        names: All sources.
        unknown: Those to leave out of the fit.
        real: Sources of photographs.

    Raises:
        UsageError: A name is not among `names`, a source is both unknown and real, or fewer than
            two known classes are left.
    """
    for option, chosen in (("--unknown", unknown), ("--real", real)):
        for name in chosen:
            if name not in names:
                raise UsageError(
                    f"{option} {name!r} is not among the sources.",
                    hint=f"Sources: {', '.join(names)}.",
                )
    both = [name for name in unknown if name in real]
    if both:
        raise UsageError(
            f"{both[0]!r} is both --unknown and --real.",
            hint="Photographs of --real are a known class; leave one of the two away.",
        )
    classes = {class_of(name, real) for name in names if name not in unknown}
    if len(classes) < MIN_KNOWN:
        raise UsageError(
            f"{len(classes)} known class(es) are left, but at least {MIN_KNOWN} are needed.",
            hint="Name fewer sources with --unknown, or add folders.",
        )
    return tuple(dict.fromkeys(unknown))


def left_out_sources(names: Sequence[str], real: Sequence[str]) -> tuple[str, ...]:
    """Return the sources that are left out in turn: all but the photographs.

    Raises:
        UsageError: See `checked_unknown`.
    """
    left_out = tuple(name for name in names if name not in real)
    for name in left_out:
        checked_unknown(names, [name], real)
    if not left_out:
        raise UsageError("Every source is --real, so that there is none to leave out.")
    return left_out


def classes_from_sources(
    sources: Sequence[LabelledSource], real: Sequence[str]
) -> dict[str, Float32Array]:
    """Return the fingerprints per class, (N, D) float32: one per source, photographs as `real`."""
    parts: dict[str, list[Float32Array]] = {}
    for source in sources:
        parts.setdefault(class_of(source.name, real), []).append(source.fingerprints)
    return {name: np.concatenate(rows) for name, rows in parts.items()}
