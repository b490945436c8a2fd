"""A candidate at SD-Turbo's size, one image: ours against diffusers, optimum and others.

    python benchmarks/synthesis.py [--bundles DIR] [--rounds 3] [--repeat 3] [--record]
    python benchmarks/synthesis.py --peers lineup "lineup openvino" "diffusers fp32" openvino ...

Text encoder, one step of the denoiser, image decoder; the same random weights and the same noise
for all. Every program is a child process of its own, a round runs each once. Peers: PyTorch eager
in fp32 and bf16 (on a GPU fp16 eager and compiled), and optimum's ONNX Runtime pipeline with
default settings. How far the images are from PyTorch's in fp32 is part of the result.

By name alone come peers whose packages no extra has (`pip install --no-deps --target DIR PACKAGE`,
and DIR on PYTHONPATH): `openvino`, OpenVINO's pipeline of optimum-intel, of a folder that it
exported; and `stable-diffusion.cpp f32|f16|q8_0` (stable-diffusion-cpp-python), of the folder of
diffusers. The latter takes neither our noise nor our tokens: the work is the same, the image is not
compared.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from _models import GENERATORS, Models, add_arguments, models_from_arguments, settings_of_models
from _peers import Peer, summary, take_turns
from _record import finish, parser_of, settings_of
from lineup.models.noise import noise_from_seed

PROMPT = "a large red ball left of two small blue cubes on a meadow in the evening"
OURS, REFERENCE = "lineup", "diffusers fp32"
RATIO_KEYS = ("run_s", "run_cpu_s", "ready_s", "peak_mib.anonymous_mib", "peak_mib.total_mib")
COMPILED = {"mode": "max-autotune"}
LATENT_CHANNELS, LATENT_FACTOR = 4, 8
"""Of SD-Turbo's autoencoder."""

CPU_PEERS = (OURS, REFERENCE, "diffusers bf16", "optimum")
SD_CPP = "stable-diffusion.cpp"
GPU_PEERS = (OURS, "diffusers fp16", "diffusers fp16 compiled")


def peer_from_name(name: str, models: Models, **asked: Any) -> Peer:
    """Return how a peer is run; what it loads is made if it is missing.

    Args:
        name: One of `CPU_PEERS` or `GPU_PEERS`, or of those that come by name alone; "lineup" with
            a device is ours there, and may have a remark behind a comma.
        models: The models of the run.
        asked: What only this peer is asked beside the model.
    """
    generator = GENERATORS[0]
    program, *rest = name.partition(",")[0].split(" ")
    if program == OURS:
        asked |= {"program": program, "model": str(models.bundle(generator))}
        asked |= {"device": rest[0]} if rest else {}
    elif program in {"optimum", "openvino"}:
        asked |= {"program": program, "model": str(models.exported(program, generator))}
    elif program == SD_CPP:
        asked |= {"program": program, "model": str(models.peer(generator)), "weights": rest[0]}
    else:
        _, number_format, *extra = name.split(" ")
        dtype = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}[number_format]
        asked |= {"program": "diffusers", "model": str(models.peer(generator)), "dtype": dtype}
        asked = {"compile": COMPILED if "compiled" in extra else None, **asked}
        asked |= {"channels_last": "channels-last" in extra}
    return Peer(name, "image.py", asked)


def write_latents(folder: Path, size_px: int, seed: int) -> str:
    """Write the noise that all programs begin with; return its file."""
    path, side = folder / "latents.npy", size_px // LATENT_FACTOR
    np.save(path, noise_from_seed(seed, (1, LATENT_CHANNELS, side, side)))
    return str(path)


def request_of(arguments: argparse.Namespace, folder: Path, seed: int) -> dict[str, Any]:
    """Return what every program is asked: one image of `PROMPT`."""
    return {
        "prompt": PROMPT,
        "seed": seed,
        "latents": write_latents(folder, arguments.size, seed),
        "image": str(folder / "image.npy"),
        "size_px": arguments.size,
        "repeat": arguments.repeat,
        "device": arguments.device,
        "threads": arguments.threads,
    }


def image_errors(images: dict[str, Path], reference: str) -> dict[str, dict[str, float]]:
    """Return how far the images are from those of a reference, in levels of 255."""
    if not images[reference].exists():
        return {}
    expected = np.load(images[reference]).astype(np.float64)
    errors = {}
    for name, path in images.items():
        if name != reference and not name.startswith(SD_CPP) and path.exists():
            gap = np.abs(np.load(path) - expected)
            errors[name] = {"mean_levels": float(gap.mean()), "max_levels": float(gap.max())}
    return errors


def measure(arguments: argparse.Namespace, names: list[str]) -> dict[str, Any]:
    """Let the peers take turns."""
    models = models_from_arguments(arguments)
    backends = {name.split(" ")[1].split(":")[0] for name in names if name.startswith(f"{OURS} ")}
    models.optimise([GENERATORS[0]], ("onnxruntime", *sorted(backends)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = {name: folder / f"{name.replace(' ', '-')}.npy" for name in names}
        peers = [peer_from_name(name, models, image=str(images[name])) for name in names]
        request = request_of(arguments, folder, arguments.seed)
        runs = take_turns(peers, request, arguments.rounds)
        reference = next((name for name in (REFERENCE, OURS) if name in names), names[0])
        errors = image_errors(images, reference)
    return {
        **summary(runs, names[0], RATIO_KEYS),
        "compared_with": reference,
        "image_errors": errors,
        "models": settings_of_models(models, [GENERATORS[0]]),
    }


def table_lines(results: dict[str, Any]) -> list[str]:
    """Return the table for people."""
    columns = f"{'load s':>8}{'ready s':>9}{'image s':>9}{'CPU s':>8}{'anonymous':>11}{'mapped':>8}"
    lines = [f"{'':26}{columns} MiB"]
    for name, one in results["medians"].items():
        load_s = one.get("load_s", one.get("open_s", 0) + one.get("stages_s.load", 0))
        lines.append(
            f"{name:26}{load_s:8.1f}{one['ready_s']:9.1f}{one['run_s']:9.2f}"
            f"{one['run_cpu_s']:8.1f}"
            f"{one['peak_mib.anonymous_mib']:11.0f}{one['peak_mib.file_backed_mib']:8.0f}"
        )
    lines += [f"{name}: failed: {why}" for name, why in results["failures"].items()]
    for name, ratios in results["ratios"].items():
        shown = ", ".join(f"{key} {one['median']:.2f}" for key, one in ratios.items())
        lines.append(f"{name} out of ours: {shown}")
    return lines


def main() -> None:
    """Measure, print the table and the JSON line."""
    parser = parser_of(__doc__)
    add_arguments(parser)
    parser.add_argument("--peers", nargs="+", metavar="NAME", help="ours first; default: all")
    parser.add_argument("--size", type=int, default=512, help="side of the image, px")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=3, help="warm images per process")
    parser.add_argument("--name", help="of the record; default: synthesis, on a GPU synthesis_gpu")
    arguments = parser.parse_args()
    on_gpu = arguments.device != "cpu"
    names = arguments.peers or list(GPU_PEERS if on_gpu else CPU_PEERS)
    results = measure(arguments, names)
    print("\n".join(table_lines(results)))
    settings = settings_of(
        arguments, "device", "threads", "size", "seed", "rounds", "repeat", "tiny", "as_exported"
    )
    name = arguments.name or ("synthesis_gpu" if on_gpu else "synthesis")
    finish(name, settings, results, record=arguments.record)


if __name__ == "__main__":
    main()
