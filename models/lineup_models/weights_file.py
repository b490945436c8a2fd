"""Files of trained weights: a .safetensors file whose metadata hold a JSON header."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lineup.errors import BundleFormatError, BundleNotFoundError
from lineup.files import write_atomic

Spec = TypeVar("Spec")

VERSION = 1
"""Of the files; grows when their header changes."""


@dataclass(frozen=True, slots=True)
class WeightsFormat:
    """One kind of file.

    Attributes:
        key: Where the metadata hold the header.
        content: What the weights are of, e.g. "trained simulator".
        making: How such a file is made.
    """

    key: str
    content: str
    making: str

    def write(self, path: Path, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Write contiguous tensors of the CPU and a JSON header, whole or not at all."""
        text = json.dumps({"format": VERSION, **header})
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
            if header["format"] != VERSION:
                raise ValueError(f"format {header['format']}, expected {VERSION}")
            yield header, tensors
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise BundleFormatError(
                f"{path} does not hold the weights of a {self.content} ({error}).",
                hint=f"Expected a file made with: {self.making}",
            ) from error


def spec_from_dict(kind: type[Spec], raw: Mapping[str, Any]) -> Spec:
    """Return a dataclass of numbers, tuples, enums and dataclasses from what JSON made of it.

    Raises:
        ValueError: It is not what `asdict` gave.
    """
    spec = msgspec.convert(raw, kind)
    unknown = set(raw) - set(msgspec.to_builtins(spec))
    if unknown:
        raise ValueError(f"unknown fields {', '.join(sorted(unknown))}")
    return spec
