"""Does the graph compute what the reference computes? Without a yes there is no bundle."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from lineup.backends.building import wants_packed_weights
from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt import (
    RuntimeOptions,
    WeightPolicy,
    providers_from_device,
    session_options_from,
)
from lineup.backends.onnxrt_runners import OnnxRuntimeRunner
from lineup.bundles.external import external_locations
from lineup.bundles.manifest import Parity
from lineup.errors import ParityError
from lineup.machine import SOME, keep_freed_memory
from lineup.types import AnyArray

METRIC = "max_relative_error"
LARGE_BYTES = 256 * 2**20


def max_relative_error(value: AnyArray, reference: AnyArray) -> float:
    """Return max |value - reference| / max |reference|, over all elements.

    The denominator is the largest element of the reference, not the element itself: an element
    that happens to be near zero says nothing about precision. A value that is not finite gives
    infinity.
    """
    if value.shape != reference.shape:
        return float("inf")
    difference = np.abs(value.astype(np.float64) - reference).max(initial=0.0)
    scale = np.abs(reference).max(initial=0.0)
    error = float(difference / scale) if scale > 0 else float(difference)
    return error if np.isfinite(error) else float("inf")


def worst_error(values: Sequence[AnyArray], references: Sequence[AnyArray]) -> float:
    """Return the largest relative error of an output against its reference."""
    return max(max_relative_error(*pair) for pair in zip(values, references, strict=True))


def lowest_cosine(values: Sequence[AnyArray], references: Sequence[AnyArray]) -> float:
    """Return the lowest cosine between an output and its reference, both taken as one vector."""
    return min(
        _cosine(value.astype(np.float64).ravel(), expected.astype(np.float64).ravel())
        for value, expected in zip(values, references, strict=True)
    )


def _cosine(value: AnyArray, reference: AnyArray) -> float:
    scale = float(np.linalg.norm(value) * np.linalg.norm(reference))
    return float(value @ reference) / scale if scale > 0 else float(not (value - reference).any())


def outputs_from_file(
    path: Path, feeds: Sequence[Mapping[str, AnyArray]]
) -> list[dict[str, AnyArray]]:
    """Run a graph file in ONNX Runtime on the CPU, large ones in little memory."""
    with _runner(path) as runner:
        return [runner.run(feed) for feed in feeds]


def latency_ms_of_file(path: Path, feeds: Sequence[Mapping[str, AnyArray]]) -> float:
    """Return the shortest time of a run in ONNX Runtime on the CPU, the first one not counted."""
    with _runner(path) as runner:
        runner.run(feeds[0])
        times = []
        for feed in feeds:
            started = time.perf_counter()
            runner.run(feed)
            times.append(1e3 * (time.perf_counter() - started))
    return min(times)


def _runner(path: Path) -> OnnxRuntimeRunner:
    device = Device(DeviceKind.CPU)
    # As it will be run.
    options = RuntimeOptions(weights=WeightPolicy.PACKED if wants_packed_weights(path) else None)
    settings = session_options_from(options, device)
    files = [path, *(path.parent / name for name in external_locations(path))]
    size_bytes = sum(file.stat().st_size for file in files)
    if size_bytes > LARGE_BYTES:
        # Widened half weights come and go; glibc would hold on to them until the process ends.
        keep_freed_memory(SOME)
        # Optimising folds the widening of half weights into constants of twice their size.
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        str(path), settings, providers=providers_from_device(device)
    )
    return OnnxRuntimeRunner(session)


def checked_parity(
    name: str,
    outputs: Sequence[AnyArray],
    references: Sequence[AnyArray],
    *,
    reference: str,
    tolerance: float,
    samples: int | None = None,
) -> Parity:
    """Compare the outputs of the graph `name` with what `reference` gave for the same inputs.

    `samples` is the number of inputs, where one gives several outputs.

    Raises:
        ParityError: The error is above the tolerance.
    """
    samples = len(outputs) if samples is None else samples
    value = worst_error(outputs, references)
    if not value <= tolerance:
        raise ParityError(
            f"Graph {name!r} differs from its reference ({reference}): {METRIC} is {value:.3g}, "
            f"expected at most {tolerance:.3g} over {samples} samples. No bundle was written.",
            hint="Try another --opset or --precision; a report should name the versions that "
            "`lineup doctor` shows.",
        )
    return Parity(
        reference=reference, metric=METRIC, value=value, tolerance=tolerance, samples=samples
    )
