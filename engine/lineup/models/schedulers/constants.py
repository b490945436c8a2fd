"""The constants of a scheduler, and which of the training's timesteps it visits by them.

They are named as in diffusers' scheduler_config.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from lineup.errors import BundleFormatError, UsageError

Choice = TypeVar("Choice", bound=Enum)

_HONOURED: Mapping[str, tuple[object, ...]] = {
    "interpolation_type": ("linear",),
    "thresholding": (False,),
    "timestep_type": ("discrete",),
    "trained_betas": (None,),
    "use_beta_sigmas": (False, None),
    "use_exponential_sigmas": (False, None),
}
"""Constants of which only these values are implemented; another one would change results."""


class Constants:
    """The constants of one scheduler.

    Every method raises `BundleFormatError`, which names the field, where it is wrong, or absent
    without a default.

    Raises:
        BundleFormatError: A constant has a value that is not implemented.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        for key, honoured in _HONOURED.items():
            if values.get(key, honoured[0]) not in honoured:
                raise _wrong(key, values[key], f"only {honoured[0]!r} is implemented")

    def number(self, key: str, default: float | None = None) -> float:
        """Return a number."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _wrong(key, value, "expected a number")
        return float(value)

    def optional_number(self, key: str) -> float | None:
        """Return a number, or None when it is absent or null."""
        return None if self._values.get(key) is None else self.number(key)

    def integer(self, key: str) -> int:
        """Return a whole number of at least 0."""
        value = self._value(key, None)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise _wrong(key, value, "expected a whole number of at least 0")
        return value

    def flag(self, key: str, default: bool | None = None) -> bool:
        """Return true or false."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise _wrong(key, value, "expected true or false")
        return value

    def choice(self, key: str, kind: type[Choice], default: Choice | None = None) -> Choice:
        """Return one of a kind's values."""
        value = self._value(key, default)
        try:
            return kind(value)
        except ValueError:
            words = ", ".join(str(member.value) for member in kind)
            raise _wrong(key, value, f"expected one of: {words}") from None

    def integers(self, key: str) -> tuple[int, ...] | None:
        """Return a list of whole numbers, or None when it is absent or null."""
        values = self._values.get(key)
        if values is None:
            return None
        if not isinstance(values, list) or not all(type(value) is int for value in values):
            raise _wrong(key, values, "expected a list of whole numbers")
        return tuple(values)

    def _value(self, key: str, default: object) -> object:
        value = self._values.get(key)
        if value is not None:
            return value
        if default is None:
            raise BundleFormatError(
                f"scheduler.{key}: missing, but needed here",
                hint="Constants are named as in diffusers' scheduler_config.json; "
                "export the bundle again.",
            )
        return default


def _wrong(key: str, value: object, expected: str) -> BundleFormatError:
    return BundleFormatError(
        f"scheduler.{key}: {value!r} cannot be used; {expected}",
        hint="Constants are named as in diffusers' scheduler_config.json.",
    )


class TimestepSpacing(str, Enum):
    """How timesteps are spread: 2305.08891, table 2."""

    LINSPACE = "linspace"
    LEADING = "leading"
    TRAILING = "trailing"


def spaced_timesteps(
    spacing: TimestepSpacing, train_timesteps: int, steps: int, constants: Constants
) -> npt.NDArray[Any]:
    """Return the timesteps to visit, falling, float64; only linspace gives fractions.

    Raises:
        UsageError: More steps than the training had timesteps.
        BundleFormatError: `steps_offset` is needed and absent.
    """
    check_steps(steps, train_timesteps)
    if spacing is TimestepSpacing.LINSPACE:
        return np.linspace(0, train_timesteps - 1, steps)[::-1]
    if spacing is TimestepSpacing.LEADING:
        ratio = train_timesteps // steps
        leading: npt.NDArray[Any] = np.arange(steps)[::-1] * float(ratio)
        return leading + constants.integer("steps_offset")
    trailing: npt.NDArray[Any] = np.arange(train_timesteps, 0, -train_timesteps / steps).round() - 1
    return trailing


def check_steps(steps: int, largest: int) -> None:
    """Check a number of steps.

    Raises:
        UsageError: It is below 1 or above the largest.
    """
    if not 1 <= steps <= largest:
        raise UsageError(
            f"{steps} steps were asked for, but this generator takes 1 to {largest}.",
            hint="Leave --steps away for the generator's own number.",
        )


def first_step_from_strength(steps: int, strength: float) -> int:
    """Return the step at which redrawing an image starts.

    As diffusers' `get_timesteps`: `steps` are those of the whole way from noise to image, and a
    strength of 1 redraws from pure noise.

    Raises:
        UsageError: No step is left to take.
    """
    taken = min(int(steps * strength), steps)
    if taken < 1:
        raise UsageError(
            f"Of {steps} steps, a strength of {strength:g} leaves none to take.",
            hint=f"Take more --steps, or a --strength of at least {1 / steps:.3g}.",
        )
    return steps - taken


def consistency_timesteps(
    constants: Constants, train_timesteps: int, steps: int, strength: float = 1.0
) -> list[int]:
    """Return the timesteps to visit, falling.

    The student was distilled on `original_inference_steps` evenly spaced timesteps (LCM,
    2310.04378, section 4.3); of the lowest `strength` of these, `steps` are taken. The constant
    `timesteps`, a list, replaces the choice when it has as many entries as there are steps:
    Hyper-SD's one-step UNet starts at 800.

    Raises:
        BundleFormatError: A constant is absent or wrong; names it.
        UsageError: The number of steps cannot be taken.
    """
    given = constants.integers("timesteps")
    if given is not None and len(given) == steps and strength == 1:
        return list(given)
    original_steps = constants.integer("original_inference_steps")
    check_steps(steps, original_steps)
    stride = train_timesteps // original_steps
    distilled = np.arange(1, int(original_steps * strength) + 1) * stride - 1
    if len(distilled) < steps:
        raise UsageError(
            f"A strength of {strength:g} leaves {len(distilled)} of the {original_steps} timesteps "
            f"of this generator, fewer than the {steps} steps asked for.",
            hint=f"Take fewer --steps, or a --strength of at least {steps / original_steps:.3g}.",
        )
    chosen = np.floor(np.linspace(0, len(distilled), steps, endpoint=False)).astype(int)
    timesteps: list[int] = distilled[::-1][chosen].tolist()
    return timesteps
