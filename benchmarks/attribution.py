"""A scan of N images by K candidates: `lineup scan` against the papers' script in PyTorch.

    python benchmarks/attribution.py [--points 1x1 2x1 2x2] [--rounds 1] [--record]
    python benchmarks/attribution.py --points 16x3 --distinct --name attribution_16x3 --record
    python benchmarks/attribution.py --device openvino --name attribution_openvino --record

The script captions image by image (BLIP base), lets every candidate (SD-Turbo's size, 512 px, one
step) draw the caption once, and compares CLIP ViT-L/14@336 features of its last layer; everything
in PyTorch, fp32 (on a GPU fp16). --device is that of ours; the script takes a processor where that
is no GPU. Ours does the same work on the same random weights and the same noise, one model at a
time over all images (--order stage-major). A time is that of the whole process. Captions and
similarities of both are compared, so that it is known to be the same work.

Unless --distinct asks for weights of their own, further candidates are the first one under other
names: the work is the same, but not the room on disk.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _models import (
    CAPTIONER,
    ENCODER,
    GENERATORS,
    Models,
    add_arguments,
    manifest_of,
    models_from_arguments,
    settings_of_models,
)
from _peers import Peer, summary, take_turns
from _record import finish, parser_of, settings_of
from lineup.lineups.spec import CandidateSpec, LineupSpec, toml_from_spec
from lineup.options import ResynthesisOptions
from scan_profile import draw_images
from synthesis import write_latents

OURS, THEIRS = "lineup scan", "PyTorch script"
RATIO_KEYS = ("total_s", "peak_mib.anonymous_mib", "peak_mib.total_mib")
IMAGE_SIDE_PX = 512


def generators_of(count: int, *, distinct: bool) -> dict[str, str]:
    """Return the bundle's name per candidate."""
    names = [f"candidate-{number}" for number in range(1, count + 1)]
    return {
        name: GENERATORS[index % len(GENERATORS) if distinct else 0]
        for index, name in enumerate(names)
    }


def write_lineup(models: Models, candidates: dict[str, str], folder: Path) -> Path:
    """Write a lineup.toml of these candidates; return it."""
    spec = LineupSpec(
        name="benchmark",
        captioner=str(models.bundle(CAPTIONER)),
        encoder=str(models.bundle(ENCODER)),
        candidates=tuple(
            CandidateSpec(name, str(models.bundle(bundle))) for name, bundle in candidates.items()
        ),
        resynthesis=ResynthesisOptions(gamma=1, seed=0),
    )
    path = folder / "lineup.toml"
    path.write_text(toml_from_spec(spec), encoding="utf-8")
    return path


def peers_of_point(
    models: Models, candidates: dict[str, str], folder: Path, arguments: argparse.Namespace
) -> list[Peer]:
    """Return both programs for a number of candidates."""
    on_gpu = arguments.device.startswith("cuda")
    options = ["--evidence", "fingerprint,resynthesis", "--gamma", "1", "--seed", "0"]
    options += ["--encoder-layer", arguments.layer, "--no-cache"]
    options += ["--order", arguments.order] if arguments.order else []
    options += ["--memory-budget", arguments.memory_budget] if arguments.memory_budget else []
    ours = {
        "program": "lineup",
        "lineup": str(write_lineup(models, candidates, folder)),
        "rows": str(folder / "ours.jsonl"),
        "options": options,
    }
    theirs = {
        "program": "script",
        "captioner": str(models.peer(CAPTIONER)),
        "encoder": str(models.peer(ENCODER)),
        "candidates": {name: str(models.peer(bundle)) for name, bundle in candidates.items()},
        "rows": str(folder / "theirs.jsonl"),
        "latents": write_latents(folder, arguments.size, 0),
        "size_px": arguments.size,
        "max_tokens": manifest_of(models.bundle(CAPTIONER))["captioner"]["max_tokens"],
        "device": "cuda" if on_gpu else "cpu",
        "dtype": "float16" if on_gpu else "float32",
    }
    peers = [Peer(OURS, "scan.py", ours), Peer(THEIRS, "scan.py", theirs)]
    return peers[: 1 if arguments.ours_only else 2]


def rows_from_file(path: Path) -> list[dict[str, Any]]:
    """Return the rows that a program wrote; none when it failed before."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def agreement(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return whether two programs did the same work: captions, and similarities where told."""
    if len(ours) != len(theirs) or not ours:
        return {}
    gaps = [
        abs(scores[name] - expected)
        for row, other in zip(ours, theirs, strict=True)
        for scores in [(row["evidence"] or {}).get("resynthesis", {"scores": {}})["scores"]]
        for name, expected in other["scores"].items()
        if name in scores
    ]
    same = sum(a["caption"] == b["caption"] for a, b in zip(ours, theirs, strict=True))
    return {
        "same_captions_percent": 100 * same / len(ours),
        "max_similarity_gap": max(gaps) if gaps else None,
    }


def measure_point(models: Models, images: int, count: int, arguments: argparse.Namespace) -> Any:
    """Let both programs scan so many images by so many candidates."""
    candidates = generators_of(count, distinct=arguments.distinct)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images").mkdir()
        paths = draw_images(folder / "images", [IMAGE_SIDE_PX], images)
        peers = peers_of_point(models, candidates, folder, arguments)
        request = {
            "images": [str(path) for path in paths],
            "threads": arguments.threads,
            "device": arguments.device,
        }
        runs = take_turns(peers, request, arguments.rounds)
        same = agreement(
            rows_from_file(folder / "ours.jsonl"), rows_from_file(folder / "theirs.jsonl")
        )
    return {
        "images": images,
        "candidates": count,
        "bundles": sorted(set(candidates.values())),
        **summary(runs, OURS, RATIO_KEYS),
        "agreement": same,
    }


def point_from_text(text: str) -> tuple[int, int]:
    """Return images and candidates of e.g. "16x3".

    Raises:
        argparse.ArgumentTypeError: It does not read like that.
    """
    images, cross, candidates = text.partition("x")
    if not (cross and images.isdecimal() and candidates.isdecimal() and int(images) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not like 16x3 (images x candidates)")
    return int(images), max(1, int(candidates))


def point_line(point: dict[str, Any]) -> str:
    """Return a line for people."""
    line = f"{point['images']} x {point['candidates']}: "
    line += "; ".join(
        f"{name} {one['total_s']:.1f} s, {one['peak_mib.anonymous_mib']:.0f} MiB anonymous"
        for name, one in point["medians"].items()
    )
    for ratios in point["ratios"].values():
        line += "; ratio " + ", ".join(f"{one['median']:.2f}" for one in ratios.values())
    if point["agreement"]:
        line += "; {same_captions_percent:.0f} % same captions, similarities within ".format(
            **point["agreement"]
        ) + str(point["agreement"]["max_similarity_gap"])
    return line + "".join(f"; {name} failed: {why}" for name, why in point["failures"].items())


def main() -> None:
    """Measure every point, print lines and the JSON line."""
    parser = parser_of(__doc__)
    add_arguments(parser)
    parser.add_argument(
        "--points", type=point_from_text, nargs="+", default=[(1, 1), (2, 1), (2, 2)],
        metavar="NxK", help="images x candidates",
    )  # fmt: skip
    parser.add_argument("--distinct", action="store_true", help="every candidate its own weights")
    parser.add_argument("--order", default="stage-major", help="'' leaves it to lineup")
    parser.add_argument("--memory-budget")
    parser.add_argument("--layer", default="final", help="of CLIP, ours: final, as the script")
    parser.add_argument("--size", type=int, default=512, help="native side of the candidates, px")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--ours-only", action="store_true")
    parser.add_argument("--name", default="attribution", help="of the record")
    arguments = parser.parse_args()
    models = models_from_arguments(arguments)
    counts = [count for _, count in arguments.points]
    drawn = generators_of(max(counts), distinct=arguments.distinct)
    backend = "openvino" if arguments.device.startswith("openvino") else "onnxruntime"
    names = [CAPTIONER, ENCODER, *sorted(set(drawn.values()))]
    models.optimise(names, [backend])
    points = []
    for images, count in arguments.points:
        points.append(measure_point(models, images, count, arguments))
        print(point_line(points[-1]), file=sys.stderr, flush=True)
    kept = "device threads rounds order memory_budget layer distinct tiny as_exported"
    settings = settings_of(arguments, *kept.split())
    results = {"points": points, "models": settings_of_models(models, names)}
    finish(arguments.name, settings, results, record=arguments.record)


if __name__ == "__main__":
    main()
