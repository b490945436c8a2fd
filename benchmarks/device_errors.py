"""How far every graph of bundles is on a device from what it computes in f32 on the CPU.

    python benchmarks/device_errors.py BUNDLE... --device openvino [--record]

Inputs are normal noise at the bundle's native size, and tokens from 1 up. Two figures an output, as
shares: the largest error out of the largest element, and the root mean squares likewise. Graphs
that stay with ONNX Runtime on that device have no error; captioners are taken as if they did not
stay in f32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from _record import finish, parser_of, settings_of
from lineup.backends.device import Device, DeviceKind
from lineup.backends.opening import runner_from_bundle
from lineup.bundles.bundle import Bundle
from lineup.planning.measuring import native_feeds
from lineup.runtime import Runtime
from lineup.types import AnyArray
from lineup_export.parity import max_relative_error


def feeds_of(bundle: Bundle, role: str) -> dict[str, AnyArray]:
    """Return noise and tokens from 1 up; a text of nothing but padding may have no states."""
    return {
        name: value
        if value.dtype.kind == "f"
        else np.arange(1, value.size + 1, dtype=value.dtype).reshape(value.shape)
        for name, value in native_feeds(bundle.manifest, role, 1).items()
    }


def errors(found: AnyArray, expected: AnyArray) -> dict[str, float]:
    """Return the largest and the mean error, as shares of the largest and the mean element."""
    squares = [np.mean(one.astype(np.float64) ** 2) for one in (found - expected, expected)]
    return {"max": max_relative_error(found, expected), "rms": float(np.sqrt(np.divide(*squares)))}


def measure(runtime: Runtime, name: str) -> dict[str, Any]:
    """Return the errors of a bundle's graphs, by graph and output."""
    bundle = runtime.bundle(name)
    device, options = runtime.place
    measured = {}
    for role in bundle.manifest.graphs:
        feeds = feeds_of(bundle, role)
        with runner_from_bundle(bundle, role, Device(DeviceKind.CPU), options) as runner:
            expected = runner.run(feeds)
        with runner_from_bundle(bundle, role, device, options) as runner:
            found = runner.run(feeds)
        measured[role] = {output: errors(found[output], expected[output]) for output in expected}
    return measured


def main() -> None:
    """Measure, print the table and the JSON line."""
    parser = parser_of(__doc__)
    parser.add_argument("bundles", nargs="+", metavar="BUNDLE", help="by name or path")
    parser.add_argument("--device", default="openvino")
    arguments = parser.parse_args()
    runtime = Runtime(arguments.device)
    results = {}
    print(f"{runtime.place[0]!s:44}{'max':>9}{'rms':>9}")
    for name in arguments.bundles:
        bundle = runtime.bundle(name).manifest.name
        results[bundle] = measure(runtime, name)
        for role, outputs in results[bundle].items():
            for output, one in outputs.items():
                named = f"{bundle} {role} {output}"[:43]
                print(f"{named:44}{one['max']:9.5f}{one['rms']:9.5f}")
    finish("device_errors", settings_of(arguments, "device"), results, record=arguments.record)


if __name__ == "__main__":
    main()
