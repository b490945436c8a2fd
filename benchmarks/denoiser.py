"""One step of SD-Turbo's denoiser: the engine's session against ONNX Runtime's default settings.

    python benchmarks/denoiser.py [--bundles DIR] [--rounds 3] [--record]

The same graph file and the same inputs (64 x 64 latents, 77 text states). Load time is that of the
session alone: verified bundles are not hashed again for every graph.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _models import GENERATORS, add_arguments, models_from_arguments, settings_of_models
from _peers import Peer, summary, take_turns
from _record import finish

OURS, DEFAULTS = "lineup", "ONNX Runtime defaults"
RATIO_KEYS = ("run_s", "load_s", "peak_mib.anonymous_mib", "peak_mib.total_mib")


def write_feeds(bundle: Path, path: Path, size_px: int) -> str:
    """Write seeded inputs of the denoiser; return the graph's file."""
    graph = json.loads((bundle / "manifest.json").read_text("utf-8"))["graphs"]["unet"]
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
    bundle = models.bundle(GENERATORS[0])
    with tempfile.TemporaryDirectory() as folder:
        feeds = Path(folder, "feeds.npz")
        graph = write_feeds(bundle, feeds, arguments.size)
        images = {name: str(Path(folder, f"{name[:6]}.npy")) for name in (OURS, DEFAULTS)}
        peers = [
            Peer(name, "denoiser_step.py", {"runtime": runtime, "image": images[name]})
            for name, runtime in ((OURS, "lineup"), (DEFAULTS, "defaults"))
        ]
        request = {
            "model": str(bundle),
            "graph": graph,
            "feeds": str(feeds),
            "repeat": arguments.repeat,
            "device": "cpu",
            "threads": arguments.threads,
        }
        runs = take_turns(peers, request, arguments.rounds)
        made = [np.load(path) for path in images.values() if Path(path).exists()]
        gap = float(np.abs(made[0] - made[1]).max()) if len(made) == len(images) else None
    return {
        **summary(runs, OURS, RATIO_KEYS),
        "max_difference": gap,
        "models": settings_of_models(models, [GENERATORS[0]]),
    }


def main() -> None:
    """Measure, print lines and the JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--size", type=int, default=512, help="side of the image, px")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=3, help="warm steps per process")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    results = measure(arguments)
    for name, one in results["medians"].items():
        print(
            f"{name:24}{one['load_s']:7.2f} s to load{one['run_s']:8.2f} s a step"
            f"{one['peak_mib.anonymous_mib']:8.0f} MiB anonymous"
        )
    keys = ("threads", "size", "rounds", "repeat", "tiny")
    settings = {key: getattr(arguments, key) for key in keys}
    finish("denoiser", settings, results, record=arguments.record)


if __name__ == "__main__":
    main()
