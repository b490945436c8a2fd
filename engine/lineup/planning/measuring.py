"""What the graphs of a bundle cost on a device of this machine: measured in processes of their own.

A process that has exported or attributed, or run another graph in the arena, holds memory that
would blur the figures, so each graph has a child, which loads it as the runtime does and runs it at
the model's native size.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from lineup.backends.base import Runner
from lineup.backends.device import Device, DeviceKind, device_from_text
from lineup.backends.measured import Measured, release_of
from lineup.backends.onnxrt import RuntimeOptions
from lineup.backends.opening import runner_from_bundle, uses_arena
from lineup.bundles.bundle import Bundle, read_bundle
from lineup.bundles.manifest import (
    MANIFEST,
    MANIFEST_NAME,
    BundleKind,
    GraphCost,
    Manifest,
)
from lineup.errors import BackendError, LineupError, UsageError
from lineup.files import write_atomic
from lineup.machine import (
    LITTLE,
    MemoryWatch,
    keep_freed_memory,
    resident_kib,
    return_freed_memory,
    usable_cores,
)
from lineup.planning.costs import runs_per_item
from lineup.types import AnyArray

LEAST_RUNS = 3
LEAST_SECONDS = 1.0
MOST_SECONDS = 5.0
"""A graph runs until it has run so often and so long, or longer than most; short ones need many
looks at memory."""


@dataclass(frozen=True, slots=True)
class MeasuredGraph:
    """A graph on a device: its cost, and the time that a new process takes to load it."""

    cost: GraphCost
    load_ms: float


def graphs_on_device(
    path: Path, device: Device, *, threads: int = 0
) -> Iterator[tuple[str, MeasuredGraph]]:
    """Yield the role of every graph of a bundle and what it costs, each from a child process.

    Files are not verified; `threads` of 0 takes every core.

    Raises:
        BackendError: A graph cannot be loaded or run, or this system does not tell memory.
        BundleFormatError: It has no manifest, or one that is not understood.
    """
    if not MemoryWatch.available():
        raise BackendError("The memory of a process can be measured on Linux only.")
    _, manifest = read_bundle(path)
    for role in manifest.graphs:
        yield role, _measured_in_child(path, role, device, threads)


def measured_from_graphs(
    bundle: Bundle, device: Device, graphs: Mapping[str, MeasuredGraph]
) -> Measured:
    """Return what is kept of a bundle that was measured; see `lineup.backends.measured`."""
    runs = runs_per_item(bundle)
    return Measured(
        release=release_of(device),
        load_ms=sum(graphs[role].load_ms for role in runs),
        item_ms=sum(count * graphs[role].cost.run_ms for role, count in runs.items()),
        graphs={role: one.cost for role, one in graphs.items()},
    )


def bundle_with_costs(bundle: Bundle) -> Bundle:
    """Put what the graphs of an exported bundle cost on the CPU into its manifest.

    The digest stays: costs change nothing that a graph computes.

    Raises:
        BackendError: See `graphs_on_device`.
        UsageError: The manifest cannot be written.
    """
    measured = graphs_on_device(bundle.path, Device(DeviceKind.CPU))
    return Bundle(bundle.path, with_costs(bundle.path, {role: one.cost for role, one in measured}))


def with_costs(root: Path, costs: Mapping[str, GraphCost]) -> Manifest:
    """Put what graphs cost into the manifest of a bundle, and return it.

    Graphs that are not among `costs` keep theirs.

    Raises:
        BundleError: The manifest cannot be read.
        UsageError: It cannot be written.
    """
    _, manifest = read_bundle(root)
    graphs = {
        role: replace(graph, cost=costs.get(role, graph.cost))
        for role, graph in manifest.graphs.items()
    }
    changed = replace(manifest, graphs=graphs)
    path = root / MANIFEST_NAME
    try:
        write_atomic(path, MANIFEST.file_bytes(changed))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="Copy the bundle to a folder of yours and name that folder.",
        ) from error
    return changed


def native_feeds(manifest: Manifest, role: str, items: int) -> dict[str, AnyArray]:
    """Return inputs of a graph for `items` images, prompts, sequences or tiles of a verdict."""
    random = np.random.default_rng(0)
    sizes = _native_sizes(manifest)
    feeds: dict[str, AnyArray] = {}
    for spec in manifest.graphs[role].inputs:
        shape = tuple(
            sizes.get(axis, items) if isinstance(axis, str) else axis for axis in spec.shape
        )
        # Of tokens and positions, 0 is always one.
        is_float = np.dtype(spec.dtype).kind == "f"
        values = random.standard_normal(shape) if is_float else np.zeros(shape)
        feeds[spec.name] = values.astype(spec.dtype)
    return feeds


def _native_sizes(manifest: Manifest) -> dict[str, int]:
    """Return the length of every free axis that does not count items."""
    if manifest.kind is BundleKind.FINGERPRINT:
        return {"images": 1}
    return {} if manifest.generation is None else manifest.generation.native_axes


def _measured(runner: Runner, feeds: Mapping[str, AnyArray]) -> tuple[int, int, float]:
    """Return peak and rest of private memory in bytes, and the fastest time in ms, of runs.

    The fastest, because whatever else the machine does only makes a run slower.
    """
    seconds: list[float] = []
    with MemoryWatch() as watch:
        runner.run(feeds)
        while sum(seconds) <= MOST_SECONDS and (
            len(seconds) < LEAST_RUNS or sum(seconds) <= LEAST_SECONDS
        ):
            start = time.perf_counter()
            outputs = runner.run(feeds)
            seconds.append(time.perf_counter() - start)
            del outputs
    assert watch.peak is not None
    return_freed_memory()
    return int(watch.peak.anonymous_mib * 2**20), _private_bytes(), min(seconds) * 1e3


def _private_bytes() -> int:
    return resident_kib()[0] * 2**10


def _measured_in_child(path: Path, role: str, device: Device, threads: int) -> MeasuredGraph:
    arguments = [str(path), role, str(device), str(threads)]
    command = [sys.executable, "-m", "lineup.planning.measuring", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this very program
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise BackendError(f"The costs of {path} cannot be measured: {reason[0]}")
    told = json.loads(done.stdout)
    return MeasuredGraph(GraphCost(**told["cost"]), told["load_ms"])


def _measured_graph(bundle: Bundle, role: str, device: Device, threads: int) -> MeasuredGraph:
    """Measure one graph in this process."""
    if bundle.manifest.kind is BundleKind.FINGERPRINT:
        threads = 1  # images are shared between threads, not operators
    one, two = (native_feeds(bundle.manifest, role, items) for items in (1, 2))
    is_fixed = all(one[name].shape == two[name].shape for name in one)
    return_freed_memory()
    before = _private_bytes()
    options = RuntimeOptions(threads=threads)
    start = time.perf_counter()
    with runner_from_bundle(bundle, role, device, options) as runner:
        load_ms = (time.perf_counter() - start) * 1e3
        return_freed_memory()
        opened = _private_bytes()
        single = peak, rest, run_ms = _measured(runner, one)
        pair_peak, _, pair_ms = single if is_fixed else _measured(runner, two)
    # What stays in the arena after a run is of the run; otherwise, what stays is of the graph.
    kept = opened if uses_arena(bundle, role, device) else rest
    loaded = max(0, kept - before)
    activation = max(0, peak - before - loaded)
    cost = GraphCost(
        activation_bytes=activation,
        activation_bytes_per_item=max(0, pair_peak - peak),
        loaded_bytes=loaded,
        run_ms=run_ms,
        run_ms_per_item=max(0.0, pair_ms - run_ms),
        threads=threads or usable_cores(),
    )
    return MeasuredGraph(cost, load_ms)


def _main(path: str, role: str, text: str, threads: str) -> None:
    keep_freed_memory(LITTLE)  # as whoever plans memory does
    device = device_from_text(text)
    assert device is not None
    try:
        bundle = Bundle(*read_bundle(Path(path)))
        print(json.dumps(asdict(_measured_graph(bundle, role, device, int(threads)))))
    except LineupError as error:
        sys.exit(error.message)


if __name__ == "__main__":
    _main(*sys.argv[1:])
