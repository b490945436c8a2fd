"""What a fit leaves behind: a folder with the numbers and the record of how they came about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from lineup.errors import BundleFormatError, BundleNotFoundError, UsageError
from lineup.files import staged_directory, write_atomic
from lineup.types import AnyArray, Float32Array, Float64Array
from lineup_models.fingerprint.real_head import STATISTICS, RealWeights
from lineup_models.fingerprint.spec import (
    LATTICE_DIMENSION,
    SpectrumSpec,
    spectrum_from_dict,
    spectrum_to_dict,
)

WEIGHTS_NAME = "whitening.safetensors"
RECORD_NAME = "training.json"
REAL_WEIGHTS_NAME = "real.safetensors"
REAL_RECORD_NAME = "real.json"
FORMAT = 2


@dataclass(frozen=True, slots=True)
class Whitening:
    """Mean and principal axes of the pooled log-spectra of photographs.

    Attributes:
        mean: float64 (dimension,).
        axes: float32 (axes, dimension), orthonormal rows, largest variance first.
        variances: float64 (axes,), variance along each axis.
        floor: Variance that is added to every axis, and assumed for all that are not kept.
        lattice_mean: float64 (81,), mean lattice contrasts of photographs.
        lattice_deviation: float64 (81,), their standard deviations.
    """

    mean: Float64Array
    axes: Float32Array
    variances: Float64Array
    floor: float
    lattice_mean: Float64Array
    lattice_deviation: Float64Array


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A fitted whitening.

    Attributes:
        spec: Constants it was fitted with.
        whitening: What was fitted.
        record: How: data, counts, seed, tool versions, seconds (plain JSON values).
        real: The head that tells photographs from generated images; None where none was fitted.
        real_record: How it was fitted.
    """

    spec: SpectrumSpec
    whitening: Whitening
    record: Mapping[str, Any] = field(default_factory=dict)
    real: RealWeights | None = None
    real_record: Mapping[str, Any] = field(default_factory=dict)


def write_checkpoint(checkpoint: Checkpoint, target: Path) -> None:
    """Write the checkpoint folder, whole or not at all.

    Raises:
        UsageError: `target` exists already.
    """
    whitening = checkpoint.whitening
    tensors: dict[str, AnyArray] = {
        "mean": whitening.mean,
        "axes": np.ascontiguousarray(whitening.axes),
        "variances": whitening.variances,
        "floor": np.array([whitening.floor]),
        "lattice_mean": whitening.lattice_mean,
        "lattice_deviation": whitening.lattice_deviation,
    }
    record = {"format": FORMAT, "spec": spectrum_to_dict(checkpoint.spec), **checkpoint.record}
    refuse_existing(target)
    with staged_directory(target) as staging:
        (staging / WEIGHTS_NAME).write_bytes(save(tensors))
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        (staging / RECORD_NAME).write_text(text, encoding="utf-8")


def add_real_head(folder: Path, real: RealWeights, record: Mapping[str, Any]) -> None:
    """Put the real head into a checkpoint folder, in place of one that is there."""
    tensors = {name: np.atleast_1d(np.asarray(value)) for name, value in asdict(real).items()}
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    write_atomic(folder / REAL_WEIGHTS_NAME, save(tensors))
    write_atomic(folder / REAL_RECORD_NAME, text.encode())


def refuse_existing(target: Path) -> None:
    """Raise when something lies where a checkpoint is to be written.

    Raises:
        UsageError: `target` exists already.
    """
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
        tensors = load((folder / WEIGHTS_NAME).read_bytes())
        if record.pop("format") != FORMAT:
            raise BundleFormatError(f"{folder / RECORD_NAME} was written by another version.")
        spec = spectrum_from_dict(record.pop("spec"))
        whitening = Whitening(
            mean=tensors["mean"],
            axes=tensors["axes"],
            variances=tensors["variances"],
            floor=float(tensors["floor"][0]),
            lattice_mean=tensors["lattice_mean"],
            lattice_deviation=tensors["lattice_deviation"],
        )
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
    tensors = load(path.read_bytes())
    real = RealWeights(
        mean=tensors["mean"],
        deviation=tensors["deviation"],
        weights=tensors["weights"],
        bias=float(tensors["bias"][0]),
        traceless=float(tensors["traceless"][0]),
        odd=float(tensors["odd"][0]),
    )
    if any(one.shape != (STATISTICS,) for one in (real.mean, real.deviation, real.weights)):
        raise ValueError(f"{REAL_WEIGHTS_NAME} holds vectors of another length than {STATISTICS}")
    return real, json.loads((folder / REAL_RECORD_NAME).read_text(encoding="utf-8"))


def _check_shapes(folder: Path, spec: SpectrumSpec, whitening: Whitening) -> None:
    count = len(whitening.variances)
    pooled, lattice = (spec.dimension,), (LATTICE_DIMENSION,)
    expected = (pooled, (count, *pooled), (count,), lattice, lattice)
    found = (
        whitening.mean.shape,
        whitening.axes.shape,
        whitening.variances.shape,
        whitening.lattice_mean.shape,
        whitening.lattice_deviation.shape,
    )
    if found != expected:
        raise BundleFormatError(
            f"{folder / WEIGHTS_NAME} holds arrays of shape {found}; "
            f"its settings ask for {expected}."
        )
