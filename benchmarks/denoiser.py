"""One step of SD-Turbo's denoiser: the engine against the default settings of what it runs on.

    python benchmarks/denoiser.py [--bundles DIR] [--rounds 3] [--record]
    python benchmarks/denoiser.py --peers lineup "lineup in int8"

The same weights and the same inputs (64 x 64 latents, 77 text states). `lineup` runs the graph that
`lineup build --backend onnxruntime` made, `lineup as exported` the bundle as it is. ONNX Runtime
runs the bundle's file by its defaults, and what optimum exports of the same weights, which is what
one would use without lineup. `lineup openvino` runs what `lineup build --backend openvino` made,
OpenVINO the bundle's file by its defaults. Load time is that of the session alone: verified bundles
are not hashed again for every graph.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from _models import (
    COMPRESSED,
    GENERATORS,
    add_arguments,
    manifest_of,
    models_from_arguments,
    settings_of_models,
)
from _peers import Peer, summary, take_turns
from _record import finish, parser_of, settings_of

OURS, AS_EXPORTED, INT8 = "lineup", "lineup as exported", "lineup in int8"
DEFAULTS, OPTIMUM = "ONNX Runtime defaults", "ONNX Runtime of optimum"
OPENVINO, OPENVINO_DEFAULTS = "lineup openvino", "OpenVINO defaults"
RUNTIMES = {
    OURS: "lineup",
    AS_EXPORTED: "lineup as exported",
    INT8: "lineup as exported",
    DEFAULTS: "defaults",
    OPTIMUM: "defaults",
    OPENVINO: "lineup",
    OPENVINO_DEFAULTS: "openvino",
}
DEFAULT_PEERS = [name for name in RUNTIMES if name != INT8]
"""Int8 computes something else, which `max_difference` of the others would drown in."""
RATIO_KEYS = ("run_s", "load_s", "peak_mib.anonymous_mib", "peak_mib.total_mib")


def write_feeds(bundle: Path, path: Path, size_px: int) -> str:
    """Write seeded inputs of the denoiser; return the graph's file."""
    graph = manifest_of(bundle)["graphs"]["unet"]
    side = size_px // 8
    sizes = {"images": 1, "rows": side, "columns": side}
    random = np.random.default_rng(0)
    feeds = {}
    for one in graph["inputs"]:
        shape = [sizes.get(axis, axis) for axis in one["shape"]]
        feeds[one["name"]] = random.standard_normal(shape).astype(np.float32)
    feeds["timestep"] = np.full(feeds["timestep"].shape, 999, np.float32)
    np.savez(path, **feeds)
    return str(bundle / graph["file"]["path"])


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Let both take turns."""
    models = models_from_arguments(arguments)
    backends = ("onnxruntime", *["openvino"] * (OPENVINO in arguments.peers))
    models.optimise([GENERATORS[0]], backends)
    bundle = models.bundle(GENERATORS[0])
    with tempfile.TemporaryDirectory() as folder:
        feeds = Path(folder, "feeds.npz")
        own = write_feeds(bundle, feeds, arguments.size)
        peers = []
        for index, name in enumerate(arguments.peers):
            asked = {"runtime": RUNTIMES[name], "image": str(Path(folder, f"{index}.npy"))}
            asked["graph"] = own
            if name == INT8:
                asked["model"] = str(models.bundle(COMPRESSED))
            if name == OPTIMUM:
                exported = models.exported("optimum", GENERATORS[0])
                asked["graph"] = str(exported / "unet" / "model.onnx")
            asked |= {"device": "openvino"} if name == OPENVINO else {}
            peers.append(Peer(name, "denoiser_step.py", asked))
        request = {
            "model": str(bundle),
            "feeds": str(feeds),
            "repeat": arguments.repeat,
            "device": "cpu",
            "threads": arguments.threads,
        }
        runs = take_turns(peers, request, arguments.rounds)
        made = [Path(peer.request["image"]) for peer in peers]
        outputs = [np.load(path) for path in made if path.exists()]
        gap = max(float(np.abs(one - outputs[0]).max()) for one in outputs)
    return {
        **summary(runs, OURS, RATIO_KEYS),
        "max_difference": gap,
        "models": settings_of_models(models, [GENERATORS[0]]),
    }


def main() -> None:
    """Measure, print lines and the JSON line."""
    parser = parser_of(__doc__)
    add_arguments(parser)
    parser.add_argument("--size", type=int, default=512, help="side of the image, px")
    parser.add_argument("--peers", nargs="+", choices=RUNTIMES, default=DEFAULT_PEERS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=3, help="warm steps per process")
    arguments = parser.parse_args()
    results = measure(arguments)
    for name, one in results["medians"].items():
        print(
            f"{name:26}{one['load_s']:7.2f} s to load{one['run_s']:8.2f} s a step"
            f"{one['peak_mib.anonymous_mib']:8.0f} MiB anonymous"
        )
    settings = settings_of(arguments, "threads", "size", "rounds", "repeat", "tiny")
    finish("denoiser", settings, results, record=arguments.record)


if __name__ == "__main__":
    main()
