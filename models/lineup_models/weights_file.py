"""Files of trained weights: a .safetensors file whose metadata hold a JSON header."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lineup.errors import BundleFormatError, BundleNotFoundError
from lineup.files import write_atomic

Spec = TypeVar("Spec")


@dataclass(frozen=True, slots=True)
class WeightsFormat:
    """One kind of file.

    Attributes:
        key: Where the metadata hold the header.
        content: What the weights are of, e.g. "trained simulator", to name in errors.
        making: How such a file is made, to hint at.
        version: Of the header.
    """

    key: str
    content: str
    making: str
    version: int = 1

    def write(self, path: Path, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Write weights and header, whole or not at all.

        Args:
            path: The file.
            header: Plain JSON values; the version is added.
            tensors: Contiguous, on the CPU.
        """
        text = json.dumps({"format": self.version, **header})
        write_atomic(path, save(dict(tensors), metadata={self.key: text}))

    @contextmanager
    def reading(self, path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Tensor]]]:
        """Yield header and weights; whatever the block cannot make of them is the file's fault.

        Raises:
            BundleNotFoundError: There is no such file.
            BundleFormatError: It holds something else.
        """
        if not path.is_file():
            raise BundleNotFoundError(
                f"{path} is not a file; expected the weights of a {self.content}.",
                hint=f"Make them with: {self.making}",
            )
        try:
            with safe_open(path, framework="pt") as stream:
                header = json.loads((stream.metadata() or {})[self.key])
                tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            if header["format"] != self.version:
                raise ValueError(f"format {header['format']}, expected {self.version}")
            yield header, tensors
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise BundleFormatError(
                f"{path} does not hold the weights of a {self.content} ({error}).",
                hint=f"Expected a file made with: {self.making}",
            ) from error


def spec_from_dict(kind: type[Spec], raw: Mapping[str, Any]) -> Spec:
    """Return a dataclass of numbers, tuples, enums and dataclasses from what JSON made of it.

    Raises:
        KeyError, TypeError, ValueError: It is not what `asdict` gave.
    """
    hints = get_type_hints(kind)
    return kind(**{name: _value(hints[name], value) for name, value in raw.items()})


def _value(hint: Any, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if isinstance(value, dict):
        options = [option for option in getattr(hint, "__args__", (hint,)) if is_dataclass(option)]
        return spec_from_dict(options[0], value)  # type: ignore[arg-type]
    return value
