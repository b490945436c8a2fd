"""One step of a denoiser, opened by the engine or by a runtime's default settings."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import _child
import numpy as np

from lineup.types import RgbImage

NAMES = {"latents": "sample", "text_states": "encoder_hidden_states"}
"""What optimum calls the inputs."""


def runner_of_engine(asked: dict[str, Any]) -> Any:
    """Open the graph as a verdict does."""
    from lineup.backends.opening import options_for_device, runner_from_bundle  # noqa: PLC0415
    from lineup.bundles.bundle import open_bundle  # noqa: PLC0415

    # Verifying hashes is what opening a bundle costs, not what loading a graph does.
    bundle = open_bundle(Path(asked["model"]))
    device, options = options_for_device(asked["device"], asked["threads"])
    return lambda: runner_from_bundle(bundle, "unet", device, options).run


def runner_as_exported(asked: dict[str, Any]) -> Any:
    """Open the bundle's own graph: in an empty home there is no other."""
    os.environ["LINEUP_HOME"] = str(Path(tempfile.gettempdir(), "lineup-as-exported"))
    return runner_of_engine(asked)


def runner_of_defaults(asked: dict[str, Any]) -> Any:
    """Open the same file the way ONNX Runtime's own examples do."""
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = asked["threads"]

    def load() -> Any:
        session = onnxruntime.InferenceSession(
            asked["graph"], options, providers=["CPUExecutionProvider"]
        )
        specs = {one.name: one for one in session.get_inputs()}

        def run(feeds: dict[str, Any]) -> dict[str, Any]:
            named = feeds
            if set(feeds) != set(specs):
                named = {NAMES.get(name, name): value for name, value in feeds.items()}
            if not specs["timestep"].shape:  # one for all images
                named["timestep"] = named["timestep"].reshape(())
            return {"prediction": session.run(None, named)[0]}

        return run

    return load


def runner_of_openvino(asked: dict[str, Any]) -> Any:
    """Open the same file the way OpenVINO's own examples do."""
    import openvino  # noqa: PLC0415

    threads = {"INFERENCE_NUM_THREADS": asked["threads"]} if asked["threads"] else {}

    def load() -> Any:
        compiled = openvino.Core().compile_model(asked["graph"], "CPU", threads)
        return lambda feeds: {"prediction": compiled(feeds)[0]}

    return load


def main() -> None:
    """Answer one request."""
    asked = _child.request()
    openers = {
        "lineup": runner_of_engine,
        "lineup as exported": runner_as_exported,
        "defaults": runner_of_defaults,
        "openvino": runner_of_openvino,
    }
    load = openers[asked["runtime"]](asked)
    run, load_s = _child.timed(load)
    _child.about("onnxruntime-gpu", "openvino")
    _child.say("loaded", load_s=load_s)
    feeds = dict(np.load(asked["feeds"]))

    def step() -> RgbImage:
        return np.asarray(run(feeds)["prediction"])

    _child.measure_images(asked, step)


if __name__ == "__main__":
    main()
