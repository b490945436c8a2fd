"""From costs and a budget to a plan, or to the smallest budget that has one.

Two kinds of memory are told apart. Private memory (loaded graphs, activations, the process
itself) has to fit the budget. Mapped weights may be dropped by the system and read again, so they
are wanted in memory, not needed: a plan that keeps them there is preferred, and one that cannot
says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from lineup.errors import UsageError
from lineup.lineups.store import Lineup
from lineup.machine import resident_kib
from lineup.planning.costs import ModelCost, Stage, costs_from_lineup
from lineup.runtime import Runtime

MIB = 2**20

_UNITS = {
    "": 1, "b": 1,
    "k": 10**3, "kb": 10**3, "kib": 2**10,
    "m": 10**6, "mb": 10**6, "mib": 2**20,
    "g": 10**9, "gb": 10**9, "gib": 2**30,
}  # fmt: skip

LINEUP_BYTES = 20 * MIB
"""Gallery, calibration and reading threads of the shipped lineup."""

PICTURE_BYTES = 3
"""Per pixel of a resynthesis that waits for its features."""

MAX_CHUNK = 64
"""Most images whose captions and resyntheses wait at a time; more saves no further loading."""

HOLES_BYTES = 3 * MIB
"""Freed memory that stays in holes between the blocks of each loaded model; measured with the
pocket lineup, 2 to 5 MiB a model."""

UNLIMITED = 2**62
"""Stands for no budget."""

MOST_PICTURE_BYTES = 512 * MIB
"""Most memory that waiting resyntheses take; more saves little loading."""


class Order(str, Enum):
    """Which loop is the outer one.

    `IMAGE_MAJOR` keeps every model loaded and finishes one image after the other: lowest latency.
    `STAGE_MAJOR` keeps one model loaded and passes a whole chunk of images through it: smallest
    memory, and every model is loaded once per chunk.
    """

    IMAGE_MAJOR = "image-major"
    STAGE_MAJOR = "stage-major"


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done.

    Attributes:
        images: Queries.
        gamma: Resyntheses per candidate.
        picture_pixels: Pixels of a resynthesis.
    """

    images: int
    gamma: int
    picture_pixels: int = 256 * 256


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One model's part of a plan.

    Attributes:
        model: Name of its bundle.
        stage: What it does.
        loads: How often it is loaded.
        runs: Items it makes in all.
        peak_bytes: Private memory while it works, in a process in which all models have run.
        mapped_bytes: Weights that are wanted in memory while it works.
        seconds: Time of its runs.
    """

    model: str
    stage: Stage
    loads: int
    runs: int
    peak_bytes: int
    mapped_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """An order of work and what it is expected to cost.

    Attributes:
        order: Which loop is the outer one.
        chunk: Images that are worked on together; 1 when images are finished one by one.
        peak_bytes: Private memory at its highest.
        mapped_bytes: Weights that are wanted in memory at the same time.
        seconds: Time of all runs, as measured here or where the bundles were exported.
        stages: One per model, in the order of the work.
        notes: What a user should know.
    """

    order: Order
    chunk: int
    peak_bytes: int
    mapped_bytes: int
    seconds: float
    stages: tuple[StagePlan, ...]
    notes: tuple[str, ...] = ()


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
    device: str = "auto",
) -> MemoryPlan:
    """Return the plan of a scan by resynthesis.

    Args:
        lineup: The lineup.
        images: Queries.
        gamma: Resyntheses per candidate; None takes the lineup's default.
        budget_bytes: Most memory to use; None is no limit.
        order: The only order to consider; None considers both.
        reading_bytes: Memory for queries that are read ahead or wait.
        device: See `lineup.backends.device.device_from_text`.

    Raises:
        UsageError: No plan fits the budget, `gamma` is out of its range, or no such device.
        DeviceUnavailableError: The device is not usable.
        BundleError: A bundle is absent or altered, or tells no costs.
    """
    settings = lineup.spec.resynthesis
    if gamma is not None:
        settings = replace(settings, gamma=gamma)
    models = costs_from_lineup(lineup, Runtime(device))
    pixels = _resynthesis_pixels(lineup)
    return plan_from_budget(
        models,
        Work(images, settings.gamma, pixels),
        base_bytes=_base_bytes() + reading_bytes,
        budget_bytes=budget_bytes,
        order=order,
    )


def chunk_from_order(lineup: Lineup, order: Order, *, images: int, gamma: int) -> int:
    """Return how many images are worked on together where memory has no limit: no cost is asked."""
    if order is Order.IMAGE_MAJOR:
        return 1
    work = Work(images, gamma, _resynthesis_pixels(lineup))
    return _chunk(images, _pictures_bytes(len(lineup.spec.generators), work), UNLIMITED)


def _base_bytes() -> int:
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
    for candidate in lineup.spec.generators:
        assert candidate.bundle is not None
        info = runtime.unverified_bundle(lineup.bundle(candidate.bundle)).manifest.generation
        assert info is not None
        sizes.append(info.native_width_px * info.native_height_px)
    return max(sizes)


def plan_from_budget(
    models: Sequence[ModelCost],
    work: Work,
    *,
    base_bytes: int,
    budget_bytes: int | None,
    order: Order | None = None,
) -> MemoryPlan:
    """Return the plan with the lowest latency that the budget allows; see `plan_for_lineup`.

    Args:
        models: In the order of the work; see `costs_from_lineup`.
        work: What is to be done.
        base_bytes: Private memory of the process before any model is loaded.
        budget_bytes: Most memory to use.
        order: A forced order only has to have its private memory fit.

    Raises:
        UsageError: No plan fits; names the smallest budget that has one.
    """
    together = _image_major(models, work, base_bytes)
    wanted = together.peak_bytes + (together.mapped_bytes if order is None else 0)
    fits = budget_bytes is None or wanted <= budget_bytes
    if order is not Order.STAGE_MAJOR and fits:
        return together
    limit = UNLIMITED if budget_bytes is None else budget_bytes
    apart = _stage_major(models, work, base_bytes, limit)
    if order is Order.IMAGE_MAJOR or apart.peak_bytes > limit:
        smallest = (
            together.peak_bytes
            if order is Order.IMAGE_MAJOR
            else smallest_budget(models, work, base_bytes=base_bytes)
        )
        raise UsageError(
            f"A budget of {limit / MIB:.0f} MiB is too small for this lineup.",
            hint=f"The smallest that works is {-(-smallest // MIB)} MiB.",
        )
    return apart


def smallest_budget(models: Sequence[ModelCost], work: Work, *, base_bytes: int) -> int:
    """Return the private memory of the leanest plan, in bytes."""
    return _stage_major(models, work, base_bytes, 0).peak_bytes


def _image_major(models: Sequence[ModelCost], work: Work, base_bytes: int) -> MemoryPlan:
    kept = base_bytes + sum(model.loaded_bytes + HOLES_BYTES for model in models)
    kept += _arena_bytes(models, work) + _resyntheses_bytes(models, work)
    stages = tuple(
        _stage(
            model,
            work.images * _looks(model, models, work),
            loads=1,
            peak_bytes=kept + model.run_bytes(_looks(model, models, work)),
            mapped_bytes=model.mapped_bytes,
        )
        for model in models
    )
    return _plan(Order.IMAGE_MAJOR, 1, stages, mapped_bytes=_mapped_bytes(models))


def _stage_major(
    models: Sequence[ModelCost], work: Work, base_bytes: int, budget_bytes: int
) -> MemoryPlan:
    # Fingerprints are taken while queries come in and again of resyntheses: that model stays.
    kept = _arena_bytes(models, work) + sum(
        model.loaded_bytes + HOLES_BYTES for model in models if model.stage is Stage.FINGERPRINT
    )
    working = {model.name: kept + _bytes_beside_kept(model, models, work) for model in models}
    per_image = _resyntheses_bytes(models, work)
    spare = budget_bytes - base_bytes - max(working.values())
    chunk = _chunk(work.images, per_image, spare)
    stages = tuple(
        _stage(
            model,
            work.images * _looks(model, models, work),
            loads=1 if model.stage is Stage.FINGERPRINT else -(-work.images // chunk),
            peak_bytes=base_bytes + chunk * per_image + working[model.name],
            mapped_bytes=model.staged_mapped_bytes,
        )
        for model in models
    )
    return replace(
        _plan(Order.STAGE_MAJOR, chunk, stages, mapped_bytes=max(s.mapped_bytes for s in stages)),
        notes=_notes(stages, budget_bytes),
    )


def _stage(
    model: ModelCost, runs: int, *, loads: int, peak_bytes: int, mapped_bytes: int
) -> StagePlan:
    seconds = runs * model.run_ms / 1e3
    return StagePlan(model.name, model.stage, loads, runs, peak_bytes, mapped_bytes, seconds)


def _plan(
    order: Order, chunk: int, stages: tuple[StagePlan, ...], *, mapped_bytes: int
) -> MemoryPlan:
    peak_bytes = max(stage.peak_bytes for stage in stages)
    seconds = sum(stage.seconds for stage in stages)
    return MemoryPlan(order, chunk, peak_bytes, mapped_bytes, seconds, stages)


def _bytes_beside_kept(model: ModelCost, models: Sequence[ModelCost], work: Work) -> int:
    looks = _looks(model, models, work)
    if model.stage is Stage.FINGERPRINT:
        return model.run_bytes(looks)
    return HOLES_BYTES + model.staged_bytes(looks)


def _notes(stages: Iterable[StagePlan], budget_bytes: int) -> tuple[str, ...]:
    large = [one for one in stages if one.peak_bytes + one.mapped_bytes > budget_bytes]
    if not large:
        return ()
    names = ", ".join(stage.model for stage in large)
    most_mib = max(stage.mapped_bytes for stage in large) / MIB
    return (
        f"the weights of {names} (up to {most_mib:.0f} MiB) do not fit beside the private memory; "
        "under a hard limit they are read again in every run",
    )


def _arena_bytes(models: Sequence[ModelCost], work: Work) -> int:
    """Return what stays in the arena once every model has run: what the largest needed."""
    return max(model.run_arena_bytes(_looks(model, models, work)) for model in models)


def _looks(model: ModelCost, models: Sequence[ModelCost], work: Work) -> int:
    """Return how many items of one query a model is given together, its resyntheses among them."""
    resyntheses = work.gamma * sum(one.stage is Stage.RESYNTHESISE for one in models)
    per_image = {
        Stage.CAPTION: 1,
        Stage.RESYNTHESISE: work.gamma,
        Stage.ENCODE: 1 + resyntheses,
        Stage.FINGERPRINT: 1 + resyntheses,
    }
    return per_image[model.stage]


def _chunk(images: int, per_image_bytes: int, spare_bytes: int) -> int:
    """Return how many images stages work on together, when so much memory is left for them."""
    room = min(spare_bytes, MOST_PICTURE_BYTES)
    return max(1, min(MAX_CHUNK, images, room // per_image_bytes if per_image_bytes else MAX_CHUNK))


def _resyntheses_bytes(models: Sequence[ModelCost], work: Work) -> int:
    """Return the memory of one image's resyntheses while they wait for their features."""
    return _pictures_bytes(sum(model.stage is Stage.RESYNTHESISE for model in models), work)


def _pictures_bytes(candidates: int, work: Work) -> int:
    return candidates * work.gamma * work.picture_pixels * PICTURE_BYTES


def _mapped_bytes(models: Iterable[ModelCost]) -> int:
    """Return the size of all weights, those that models share counted once."""
    return sum(size for _, size in frozenset().union(*(model.blobs for model in models)))
