"""The scheduler that a manifest asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from lineup.models.schedulers.base import Scheduler
from lineup.models.schedulers.constants import Constants
from lineup.models.schedulers.ddim import DdimScheduler
from lineup.models.schedulers.euler import EulerScheduler
from lineup.models.schedulers.lcm import LcmScheduler
from lineup.models.schedulers.spacing import TimestepSpacing
from lineup.models.schedulers.tcd import TcdScheduler


class SchedulerType(str, Enum):
    """The `type` of a manifest's scheduler."""

    ONE_STEP = "one-step"
    EULER = "euler"
    DDIM = "ddim"
    LCM = "lcm"
    TCD = "tcd"


def scheduler_from_manifest(
    constants: Mapping[str, Any], steps: int, *, strength: float = 1.0
) -> Scheduler:
    """Return a scheduler for a number of steps.

    Args:
        constants: The manifest's `scheduler`: `type`, and constants named as in diffusers'
            scheduler_config.json. "one-step" is Euler with trailing spacing, as ADD students run.
        steps: Number of steps from noise to image.
        strength: Above 0 and at most 1: how much of an image is redrawn; 1 starts from noise.

    Raises:
        BundleFormatError: A constant is absent or wrong; names it.
        UsageError: The number of steps cannot be taken.
    """
    given = Constants(constants)
    kind = given.choice("type", SchedulerType)
    if kind is SchedulerType.ONE_STEP:
        return EulerScheduler(given, steps, strength, default_spacing=TimestepSpacing.TRAILING)
    classes: dict[SchedulerType, Callable[[Constants, int, float], Scheduler]] = {
        SchedulerType.EULER: EulerScheduler,
        SchedulerType.DDIM: DdimScheduler,
        SchedulerType.LCM: LcmScheduler,
        SchedulerType.TCD: TcdScheduler,
    }
    return classes[kind](given, steps, strength)
