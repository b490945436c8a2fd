"""Memory of a long scan: does it grow with the number of images?

    python benchmarks/memory_flat.py [--images 50000] [--record]

Small images (64 px, PNG; a few files under many names) are scanned by their fingerprints with
`lineup scan`, in a child whose memory is followed from outside beside the rows it has written.
Growth is the private memory at the end less that after the first 1,000 rows: medians over the
samples of the last and of the second thousand, so that one batch in flight does not decide.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _peers import ProcessWatch
from _record import finish, parser_of
from scan_profile import draw_images

SIZE_PX = 64
DISTINCT = 16
PER_FOLDER = 1000
BASELINE_ROWS = 1000
CHUNK_BYTES = 2**20
MOST_POINTS = 400
"""Of the recorded series."""


def link_images(folder: Path, count: int, size_px: int = SIZE_PX) -> None:
    """Make so many images, hard links to a few files, a thousand to a folder."""
    originals = folder / "0000"
    originals.mkdir(parents=True)
    files = draw_images(originals, [size_px], min(DISTINCT, count))
    for number in range(len(files), count):
        parent = folder / f"{number // PER_FOLDER:04}"
        parent.mkdir(exist_ok=True)
        source = files[number % len(files)]
        os.link(source, parent / f"{number:06}{source.suffix}")


class RowCount:
    """Counts the lines of a file that grows, reading only what is new."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self.rows = 0

    def update(self) -> int:
        """Return the lines so far."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._position)
                while chunk := file.read(CHUNK_BYTES):
                    self.rows += chunk.count(b"\n")
                    self._position += len(chunk)
        return self.rows


def follow_scan(folder: Path, rows: Path, arguments: argparse.Namespace) -> list[dict[str, float]]:
    """Scan in a child; return samples of rows written, seconds, and memory in MiB."""
    command = [sys.executable, "-m", "lineup", "scan", str(folder), "--output", str(rows)]
    # As documented, also where the home has a CLIP.
    command += ["--evidence", "fingerprint", "--threads", str(arguments.threads), "--overwrite"]
    count, samples, started = RowCount(rows), [], time.perf_counter()
    process = subprocess.Popen(command)
    with ProcessWatch(process.pid) as watch:
        while process.poll() is None:
            time.sleep(arguments.interval)
            if watch.now:
                sample = {"rows": count.update(), "seconds": time.perf_counter() - started}
                samples.append(sample | watch.now)
    if process.returncode != 0:
        raise SystemExit(f"the scan ended with exit code {process.returncode}")
    samples[-1]["rows"] = count.update()
    return samples


def growth_mib(samples: Sequence[dict[str, float]], baseline_rows: int) -> dict[str, float]:
    """Return private memory after the first rows and at the end, and the difference, in MiB."""
    last = samples[-1]["rows"]
    early = [one for one in samples if baseline_rows <= one["rows"] <= 2 * baseline_rows]
    early = early or [min(samples, key=lambda one: abs(one["rows"] - baseline_rows))]
    late = [one for one in samples if one["rows"] > last - baseline_rows]
    ends = [statistics.median(one["anonymous_mib"] for one in some) for some in (early, late)]
    return {"early_mib": ends[0], "late_mib": ends[1], "growth_mib": ends[1] - ends[0]}


def thinned(samples: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """Return few enough samples for a plot."""
    step = -(-len(samples) // MOST_POINTS)
    return [{key: round(value, 2) for key, value in one.items()} for one in samples[::step]]


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Scan and return the growth."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        link_images(folder / "images", arguments.images)
        samples = follow_scan(folder / "images", folder / "rows.jsonl", arguments)
    rows = samples[-1]["rows"]
    if rows != arguments.images:
        raise SystemExit(f"{rows} rows were written for {arguments.images} images")
    return {
        **growth_mib(samples, min(BASELINE_ROWS, arguments.images // 4)),
        "peak_anonymous_mib": max(one["anonymous_mib"] for one in samples),
        "seconds": samples[-1]["seconds"],
        "samples": thinned(samples),
    }


def main() -> None:
    """Measure, print a line and the JSON line."""
    parser = parser_of(__doc__)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--interval", type=float, default=0.25, help="seconds between samples")
    arguments = parser.parse_args()
    results = measure(arguments)
    print(
        f"{arguments.images} images in {results['seconds']:.0f} s: "
        f"{results['early_mib']:.1f} MiB private after {BASELINE_ROWS}, "
        f"{results['late_mib']:.1f} MiB at the end, {results['growth_mib']:+.1f} MiB"
    )
    settings = {"images": arguments.images, "size_px": SIZE_PX, "threads": arguments.threads}
    finish("memory_flat", settings, results, record=arguments.record)


if __name__ == "__main__":
    main()
