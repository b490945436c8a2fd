"""Reading the constants of a scheduler, which are named as in diffusers' scheduler_config.json."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from lineup.errors import BundleFormatError

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
    """The constants of one scheduler; what is absent or wrong is an error that names the field.

    Args:
        values: The manifest's `scheduler`.

    Raises:
        BundleFormatError: A constant has a value that is not implemented.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        for key, honoured in _HONOURED.items():
            if values.get(key, honoured[0]) not in honoured:
                raise _wrong(key, values[key], f"only {honoured[0]!r} is implemented")

    def number(self, key: str, default: float | None = None) -> float:
        """Return a number; without a default it has to be there.

        Raises:
            BundleFormatError: It is absent or not a number.
        """
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _wrong(key, value, "expected a number")
        return float(value)

    def optional_number(self, key: str) -> float | None:
        """Return a number, or None when it is absent or null.

        Raises:
            BundleFormatError: It is not a number.
        """
        return None if self._values.get(key) is None else self.number(key)

    def integer(self, key: str, default: int | None = None) -> int:
        """Return a whole number of at least 0; without a default it has to be there.

        Raises:
            BundleFormatError: It is absent or not a whole number.
        """
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise _wrong(key, value, "expected a whole number of at least 0")
        return value

    def flag(self, key: str, default: bool | None = None) -> bool:
        """Return true or false; without a default it has to be there.

        Raises:
            BundleFormatError: It is absent or neither.
        """
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise _wrong(key, value, "expected true or false")
        return value

    def choice(self, key: str, kind: type[Choice], default: Choice | None = None) -> Choice:
        """Return one of a kind's values; without a default it has to be there.

        Raises:
            BundleFormatError: It is absent or none of them.
        """
        value = self._value(key, default)
        try:
            return kind(value)
        except ValueError:
            words = ", ".join(str(member.value) for member in kind)
            raise _wrong(key, value, f"expected one of: {words}") from None

    def integers(self, key: str) -> tuple[int, ...] | None:
        """Return a list of whole numbers, or None when it is absent or null.

        Raises:
            BundleFormatError: It is not such a list.
        """
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
