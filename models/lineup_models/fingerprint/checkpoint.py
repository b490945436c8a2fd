"""What a fit leaves behind: a folder with the numbers and the record of how they came about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from lineup.errors import BundleFormatError, BundleNotFoundError, UsageError
from lineup.files import staged_directory, write_atomic
from lineup_models.fingerprint.covariance import FoundAxes
from lineup_models.fingerprint.real_head import STATISTICS, RealWeights
from lineup_models.fingerprint.spec import SpectrumSpec, spectrum_from_dict, spectrum_to_dict

WEIGHTS_NAME = "whitening.safetensors"
RECORD_NAME = "training.json"
REAL_WEIGHTS_NAME = "real.safetensors"
REAL_RECORD_NAME = "real.json"
FORMAT = 4


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A fitted whitening.

    Attributes:
        spec: Constants it was fitted with.
        whitening: Mean and principal axes of the features of photographs.
        record: How: data, counts, seed, tool versions, seconds (plain JSON values).
        real: The head that tells photographs from generated images; None where none was fitted.
        real_record: How it was fitted.
    """

    spec: SpectrumSpec
    whitening: FoundAxes
    record: Mapping[str, Any] = field(default_factory=dict)
    real: RealWeights | None = None
    real_record: Mapping[str, Any] = field(default_factory=dict)


def write_checkpoint(checkpoint: Checkpoint, target: Path) -> None:
    """Write the checkpoint folder, whole or not at all.

    Raises:
        UsageError: `target` exists already.
    """
    record = {"format": FORMAT, "spec": spectrum_to_dict(checkpoint.spec), **checkpoint.record}
    refuse_existing(target)
    with staged_directory(target) as staging:
        _write(staging, WEIGHTS_NAME, checkpoint.whitening, RECORD_NAME, record)


def add_real_head(folder: Path, real: RealWeights, record: Mapping[str, Any]) -> None:
    """Put the real head into a checkpoint folder, in place of one that is there."""
    _write(folder, REAL_WEIGHTS_NAME, real, REAL_RECORD_NAME, record)


def _write(
    folder: Path,
    weights_name: str,
    weights: FoundAxes | RealWeights,
    record_name: str,
    record: Mapping[str, Any],
) -> None:
    tensors = {
        name: np.ascontiguousarray(np.atleast_1d(np.asarray(value)))
        for name, value in asdict(weights).items()
    }
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    write_atomic(folder / weights_name, save(tensors))
    write_atomic(folder / record_name, text.encode())


Weights = TypeVar("Weights", FoundAxes, RealWeights)


def _read(path: Path, kind: type[Weights]) -> Weights:
    tensors = load(path.read_bytes())
    values: dict[str, Any] = {
        name: float(tensors[name][0]) if hint is float else tensors[name]
        for name, hint in get_type_hints(kind).items()
    }
    return kind(**values)


def refuse_existing(target: Path) -> None:
    """Raise UsageError when something lies where a checkpoint is to be written."""
    if target.exists():
        raise UsageError(
            f"{target} exists already.", hint="Choose another --output, or remove it first."
        )


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a folder that `write_checkpoint` wrote.

    Raises:
        BundleNotFoundError: The folder or one of its files is not there.
        BundleFormatError: A file is not what was written.
    """
    try:
        record = json.loads((folder / RECORD_NAME).read_text(encoding="utf-8"))
        if record.pop("format") != FORMAT:
            raise BundleFormatError(f"{folder / RECORD_NAME} was written by another version.")
        spec = spectrum_from_dict(record.pop("spec"))
        whitening = _read(folder / WEIGHTS_NAME, FoundAxes)
        real, real_record = _real_head(folder)
    except OSError as error:
        raise BundleNotFoundError(
            f"{folder} is no checkpoint: {error.strerror or error} ({error.filename}).",
            hint="Make one with: lineup train whitening --photos DIR --output CHECKPOINT",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise BundleFormatError(f"{folder} is no readable checkpoint: {error}") from error
    _check_shapes(folder, spec, whitening)
    return Checkpoint(spec, whitening, record, real, real_record)


def _real_head(folder: Path) -> tuple[RealWeights | None, Mapping[str, Any]]:
    path = folder / REAL_WEIGHTS_NAME
    if not path.exists():
        return None, {}
    real = _read(path, RealWeights)
    if any(one.shape != (STATISTICS,) for one in (real.mean, real.deviation, real.weights)):
        raise ValueError(f"{REAL_WEIGHTS_NAME} holds vectors of another length than {STATISTICS}")
    return real, json.loads((folder / REAL_RECORD_NAME).read_text(encoding="utf-8"))


def _check_shapes(folder: Path, spec: SpectrumSpec, whitening: FoundAxes) -> None:
    count = len(whitening.variances)
    dimension = spec.fingerprint_dimension
    expected = ((dimension,), (count, dimension), (count,))
    found = (whitening.mean.shape, whitening.axes.shape, whitening.variances.shape)
    if found != expected:
        raise BundleFormatError(
            f"{folder / WEIGHTS_NAME} holds arrays of shape {found}; "
            f"its settings ask for {expected}."
        )
