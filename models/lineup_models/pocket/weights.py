"""The files that hold trained pocket models: weights, architecture and record in one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from torch import Tensor, nn

from lineup.errors import BundleFormatError
from lineup_models.weights_file import WeightsFormat

FORMAT = WeightsFormat("pocket", "pocket model", "lineup train pocket --output DIR")

Spec = TypeVar("Spec")


@dataclass(frozen=True, slots=True)
class StoredModel:
    """What a file of weights holds.

    Attributes:
        kind: What the model is, e.g. "vae" or "generator".
        spec: The architecture as plain JSON values.
        words: Entries of the vocabulary; 0 for a model without text.
        tensors: The weights by name.
        record: Options, seed, tools, seconds, final losses (plain JSON values).
        path: The file, to name in errors.
    """

    kind: str
    spec: Mapping[str, Any]
    words: int
    tensors: Mapping[str, Tensor]
    record: Mapping[str, Any] = field(default_factory=dict)
    path: Path = Path()

    def into(self, module: nn.Module) -> None:
        """Load the weights into `module` and freeze it.

        Raises:
            BundleFormatError: They are those of another architecture.
        """
        try:
            module.load_state_dict(dict(self.tensors))
        except RuntimeError as error:
            raise BundleFormatError(
                f"{self.path} holds weights of another architecture ({error}).",
                hint="Train the model again: lineup train pocket",
            ) from error
        module.eval().requires_grad_(False)


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


def write_model(
    path: Path,
    kind: str,
    spec: Any,
    module: nn.Module,
    *,
    words: int = 0,
    record: Mapping[str, Any] | None = None,
) -> None:
    """Write a model (fp32), whole or not at all.

    Args:
        path: The file.
        kind: What the model is; asked for again when it is read.
        spec: Its architecture, a dataclass.
        module: Its weights.
        words: Entries of the vocabulary.
        record: How it came about, plain JSON values.
    """
    header = {
        "kind": kind,
        "spec": asdict(spec),
        "words": words,
        "record": dict(record or {}),
    }
    tensors = {
        name: value.detach().cpu().float().contiguous() if value.is_floating_point() else value
        for name, value in module.state_dict().items()
    }
    FORMAT.write(path, header, tensors)


def read_model(path: Path, kind: str) -> StoredModel:
    """Read what `write_model` wrote.

    Raises:
        BundleNotFoundError: There is no such file.
        BundleFormatError: It holds something else.
    """
    with FORMAT.reading(path) as (header, tensors):
        if header["kind"] != kind:
            raise ValueError(f"a {header['kind']}, expected a {kind}")
        return StoredModel(kind, header["spec"], header["words"], tensors, header["record"], path)
