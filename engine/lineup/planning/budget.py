"""From what a user types to a plan for a lineup."""

from __future__ import annotations

import re

from lineup.errors import UsageError
from lineup.lineups.store import Lineup
from lineup.memory import resident_kib
from lineup.planning.costs import costs_from_lineup
from lineup.planning.plan import MemoryPlan, Order, Work, plan_from_budget
from lineup.runtime import Runtime

_UNITS = {
    "": 1, "b": 1,
    "k": 10**3, "kb": 10**3, "kib": 2**10,
    "m": 10**6, "mb": 10**6, "mib": 2**20,
    "g": 10**9, "gb": 10**9, "gib": 2**30,
}  # fmt: skip


LINEUP_BYTES = 20 * 2**20
"""Gallery, calibration and reading threads of the shipped lineup."""


def bytes_from_text(text: str) -> int:
    """Parse a size, e.g. "900MiB", "2 GiB", "1.5GB".

    Raises:
        UsageError: The text is no size, or not above 0.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    unit = _UNITS.get(match[2].lower()) if match else None
    size = int(float(match[1]) * unit) if match and unit else 0
    if size <= 0:
        raise UsageError(
            f"{text!r} is not a size.", hint="Write a number and a unit, e.g. 900MiB or 2GiB."
        )
    return size


def plan_for_lineup(
    lineup: Lineup,
    *,
    images: int,
    gamma: int | None,
    budget_bytes: int | None,
    order: Order | None = None,
    reading_bytes: int = 0,
) -> MemoryPlan:
    """Return the plan of a scan by resynthesis.

    Args:
        lineup: The lineup.
        images: Queries.
        gamma: Resyntheses per candidate; None takes the lineup's default.
        budget_bytes: Most memory to use; None is no limit.
        order: The only order to consider; None considers both.
        reading_bytes: Memory for queries that are read ahead or wait.

    Raises:
        UsageError: No plan fits the budget.
        BundleError: A bundle is absent or altered, or tells no costs.
    """
    models = costs_from_lineup(lineup)
    work = Work(
        images=images,
        gamma=gamma or lineup.spec.resynthesis.gamma,
        picture_pixels=_resynthesis_pixels(lineup),
    )
    return plan_from_budget(
        models,
        work,
        base_bytes=base_bytes() + reading_bytes,
        budget_bytes=budget_bytes,
        order=order,
    )


def base_bytes() -> int:
    """Return the private memory of a process that has opened a lineup and loaded no model (Linux).

    That is this process with the libraries that run models, and what a lineup holds besides.
    """
    # Here, because what they take is counted; whoever plans is about to need them.
    import lineup.lineups.models  # noqa: F401, PLC0415

    return resident_kib()[0] * 2**10 + LINEUP_BYTES


def _resynthesis_pixels(lineup: Lineup) -> int:
    """Return the pixels of the largest resynthesis that a candidate makes."""
    runtime = Runtime()
    sizes = [0]
    for candidate in lineup.spec.candidates:
        if candidate.bundle is not None:
            found = runtime.unverified_bundle(lineup.bundle(candidate.bundle))
            info = found.manifest.generation
            assert info is not None
            sizes.append(info.native_width_px * info.native_height_px)
    return max(sizes)
