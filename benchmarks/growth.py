"""How the cost of a scan grows: with the images N (fingerprints), with the candidates K (pocket).

    python benchmarks/growth.py [--rounds 3] [--images 1 10 100 1000] [--candidates 2 4 8 16]

Whole `lineup scan` processes; every round runs all points. Images are 512 px, a few files under
many names. More candidates than the pocket lineup has are the same four under other names; nothing
is cached. Seconds per image and per candidate are the slope of a straight line through the medians
(least squares of relative errors), its intercept is what a process costs before the first.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from _peers import scan_once
from _record import finish, parser_of, settings_of
from lineup.lineups.spec import CandidateSpec, LineupSpec, toml_from_spec
from lineup.options import ResynthesisOptions
from memory_flat import link_images

SIZE_PX = 512
BUNDLES = ("pocket-ash", "pocket-birch", "pocket-cedar", "pocket-dogwood")
REDRAW = ("--evidence", "fingerprint,resynthesis", "--no-cache")


def pocket_of(count: int, gamma: int) -> str:
    """Return the lineup.toml of so many candidates from the pocket lineup's bundles."""
    candidates = (
        CandidateSpec(f"{bundle}-{number // len(BUNDLES)}", bundle)
        for number, bundle in ((n, BUNDLES[n % len(BUNDLES)]) for n in range(count))
    )
    spec = LineupSpec(
        name=f"pocket-of-{count}",
        captioner="pocket-captioner",
        encoder="pocket-clip",
        candidates=tuple(candidates),
        resynthesis=ResynthesisOptions(gamma=gamma),
    )
    return toml_from_spec(spec)


def line_through(counts: Sequence[int], seconds: Sequence[float]) -> dict[str, float]:
    """Fit seconds = start + each * count, weighing errors by 1 / seconds."""
    weights = 1 / np.asarray(seconds)
    design = np.stack([np.ones(len(counts)), np.asarray(counts, float)], axis=1)
    (start, each), *_ = np.linalg.lstsq(
        design * weights[:, None], np.asarray(seconds) * weights, rcond=None
    )
    return {"start_s": float(start), "each_s": float(each)}


def curve(runs: Mapping[int, Sequence[dict[str, float]]]) -> dict[str, Any]:
    """Return medians per point, and the line through their times."""
    points = [
        {
            "count": count,
            "seconds": statistics.median(one["total_s"] for one in some),
            "peak_anonymous_mib": statistics.median(one["peak_mib.anonymous_mib"] for one in some),
        }
        for count, some in runs.items()
    ]
    counts, seconds = ([one[key] for one in points] for key in ("count", "seconds"))
    return {"points": points, "line": line_through(counts, seconds) if len(points) > 1 else None}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run every point once a round."""
    by_images: dict[int, list[dict[str, float]]] = {count: [] for count in arguments.images}
    by_candidates: dict[int, list[dict[str, float]]] = {n: [] for n in arguments.candidates}
    with tempfile.TemporaryDirectory() as name:
        folder, rows = Path(name), Path(name, "rows.jsonl")
        for count in {*arguments.images, arguments.redrawn}:
            link_images(folder / f"images-{count}", count, SIZE_PX)
        for count in arguments.candidates:
            text = pocket_of(count, arguments.gamma)
            (folder / f"pocket-{count}.toml").write_text(text, encoding="utf-8")
        for number in range(arguments.rounds):
            for count, runs in by_images.items():
                images = folder / f"images-{count}"
                runs.append(scan_once([images], "pocket", rows, threads=arguments.threads))
            for count, runs in by_candidates.items():
                images = folder / f"images-{arguments.redrawn}"
                lineup = str(folder / f"pocket-{count}.toml")
                runs.append(scan_once([images], lineup, rows, REDRAW, threads=arguments.threads))
            print(f"round {number + 1} of {arguments.rounds} done", file=sys.stderr, flush=True)
    return {"images": curve(by_images), "candidates": curve(by_candidates)}


def main() -> None:
    """Measure, print lines and the JSON line."""
    parser = parser_of(__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[1, 10, 100, 300, 1000])
    parser.add_argument("--candidates", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--redrawn", type=int, default=4, help="images redrawn per candidate")
    parser.add_argument("--gamma", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    results = measure(arguments)
    for name, found in results.items():
        for point in found["points"]:
            print(
                f"{point['count']:6} {name:11}{point['seconds']:9.2f} s"
                f"{point['peak_anonymous_mib']:8.0f} MiB private"
            )
    settings = {
        "size_px": SIZE_PX,
        **settings_of(arguments, "redrawn", "gamma", "rounds", "threads"),
    }
    finish("growth", settings, results, record=arguments.record)


if __name__ == "__main__":
    main()
