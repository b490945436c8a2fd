"""Does the graph compute what the reference computes? Without a yes there is no bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt import RuntimeOptions, runner_from_onnx
from lineup.bundles.manifest import Parity
from lineup.errors import ParityError
from lineup.types import AnyArray
from lineup_export.graph import OnnxGraph

METRIC = "max_relative_error"


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


def outputs_from_graph(
    graph: OnnxGraph, feeds: Sequence[Mapping[str, AnyArray]]
) -> list[dict[str, AnyArray]]:
    """Run a graph that is not in a bundle yet, in ONNX Runtime on the CPU."""
    with tempfile.TemporaryDirectory(prefix="lineup-parity-") as folder:
        path = graph.write(Path(folder))
        with runner_from_onnx(path, Device(DeviceKind.CPU), RuntimeOptions()) as runner:
            return [runner.run(feed) for feed in feeds]


def checked_parity(
    name: str,
    outputs: Sequence[AnyArray],
    references: Sequence[AnyArray],
    *,
    reference: str,
    tolerance: float,
) -> Parity:
    """Compare outputs with their references, one array per sample.

    Args:
        name: The graph, for the error.
        outputs: What the graph gave.
        references: What it should have given.
        reference: What made the references.
        tolerance: Largest error allowed.

    Raises:
        ParityError: The error is above the tolerance.
    """
    pairs = zip(outputs, references, strict=True)
    value = max(max_relative_error(output, expected) for output, expected in pairs)
    if not value <= tolerance:
        raise ParityError(
            f"Graph {name!r} differs from its reference ({reference}): {METRIC} is {value:.3g}, "
            f"expected at most {tolerance:.3g} over {len(outputs)} samples. No bundle was written.",
            hint="Try another --opset or --precision; a report should name the versions that "
            "`lineup doctor` shows.",
        )
    return Parity(
        reference=reference,
        metric=METRIC,
        value=value,
        tolerance=tolerance,
        samples=len(outputs),
    )
