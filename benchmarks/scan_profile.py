"""Where a scan's time goes, and whether the model or Python limits it.

    python benchmarks/scan_profile.py [--images DIR ...] [--workers 1 2 4] [--record]

The same images are scanned once per number of reader threads, rows going to a file as in
`lineup scan`. "model alone" is the rate of the model on tiles that are in memory already, over at
most 64 of the images: the ceiling that no scan on this device can pass. Without `--images`, images
are drawn: half PNG, half JPEG, the same number of every size.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from _record import finish, parser_of
from lineup.engine import Engine, open_engine
from lineup.errors import LineupError, UsageError
from lineup.finding import find_images
from lineup.options import DEFAULT_OPTIONS
from lineup.reading import read_image
from lineup.scan.encoding import JsonlEncoder
from lineup.scan.meter import MainStage, ScanMeter, ScanSummary, table_from_summary
from lineup.scan.output import OutputFile, OutputMode
from lineup.scan.pipeline import scan_rows
from lineup.stream import StreamOptions
from lineup.types import RgbImage

SIZES_PX = (256, 512, 1024, 2048)
DRAWN_PER_SIZE = 16
MODEL_SAMPLE = 64


def draw_images(folder: Path, sizes_px: Sequence[int], per_size: int) -> list[Path]:
    """Write images with the spectrum of photographs (amplitude 1/f), every second one as JPEG."""
    paths = []
    for size_px in sizes_px:
        for index in range(per_size):
            path = folder / f"{size_px:05}_{index:03}{'.jpg' if index % 2 else '.png'}"
            bgr = np.ascontiguousarray(_textured_image(size_px, seed=index)[..., ::-1])
            cv2.imwrite(str(path), bgr)
            paths.append(path)
    return paths


def _textured_image(size_px: int, seed: int) -> RgbImage:
    rng = np.random.default_rng([size_px, seed])
    across = np.fft.rfftfreq(size_px)[None, :]
    down = np.fft.fftfreq(size_px)[:, None]
    amplitude = 1.0 / np.maximum(np.hypot(across, down), 1.0 / size_px)
    spectrum = np.fft.rfft2(rng.normal(size=(3, size_px, size_px))) * amplitude
    texture = np.fft.irfft2(spectrum, s=(size_px, size_px))
    pixels = 128 + 50 * texture / texture.std()
    rgb: RgbImage = np.clip(pixels, 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return rgb


def profile_scan(
    paths: Sequence[Path], engine: Engine, options: StreamOptions, output: Path
) -> ScanSummary:
    """Scan the images once, as `lineup scan` does, and return where the time went."""
    meter = ScanMeter(options.worker_count)
    with OutputFile(output, OutputMode.OVERWRITE) as rows:
        rows.begin(JsonlEncoder(), engine.run_id())
        for row in scan_rows(paths, engine, DEFAULT_OPTIONS, options, meter=meter):
            with meter.timed(MainStage.WRITE):
                rows.write(row)
    return meter.summary()


def model_alone(paths: Sequence[Path], engine: Engine, batch: int) -> float:
    """Return the images per second of the model on tiles in memory; warms the model up too."""
    chosen = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, MODEL_SAMPLE).astype(int))]
    tiles = [engine.extractor.tiles(read_image(path).pixels) for path in chosen]
    engine.extractor.fingerprints_from_tiles(tiles[:batch])
    started = time.perf_counter()
    for start in range(0, len(tiles), batch):
        engine.extractor.fingerprints_from_tiles(tiles[start : start + batch])
    return len(tiles) / (time.perf_counter() - started)


def measure(paths: Sequence[Path], arguments: argparse.Namespace) -> dict[str, Any]:
    """Scan with every number of workers; print a table for each."""
    if not paths:
        raise UsageError("There are no images to scan.", hint="Name a folder with images.")
    results: dict[str, Any] = {"images": len(paths), "scans": []}
    with (
        open_engine(device=arguments.device, threads=arguments.threads) as engine,
        tempfile.TemporaryDirectory() as scratch,
    ):
        results["device"] = str(engine.extractor.device)
        ceiling = model_alone(paths, engine, arguments.batch)
        results["model_alone_images_per_second"] = ceiling
        for workers in arguments.workers:
            options = StreamOptions(group_images=arguments.batch, workers=workers)
            summary = profile_scan(paths, engine, options, Path(scratch, "rows.jsonl"))
            results["scans"].append({"workers": workers, **dataclasses.asdict(summary)})
            print(
                f"\n{workers} worker(s): {summary.images} images, {summary.failed} failed, "
                f"{summary.images_per_second:.1f} images/s; model alone {ceiling:.1f} images/s"
            )
            print(table_from_summary(summary))
    return results


def main() -> None:
    """Parse the command line, measure, print the JSON line."""
    parser = parser_of(__doc__)
    parser.add_argument("--images", type=Path, nargs="+", help="folders of images to scan")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--batch", type=int, default=StreamOptions().group_images)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="of the model; 0 takes every core")
    arguments = parser.parse_args()
    try:
        if arguments.images:
            results = measure(list(find_images(arguments.images)), arguments)
        else:
            with tempfile.TemporaryDirectory() as folder:
                paths = draw_images(Path(folder), SIZES_PX, DRAWN_PER_SIZE)
                results = measure(paths, arguments)
    except LineupError as error:
        sys.exit(f"Error: {error}")
    settings = {
        "images": "from folders" if arguments.images else f"drawn, {SIZES_PX} px",
        "batch": arguments.batch,
        "threads": arguments.threads,
    }
    finish("scan_profile", settings, results, record=arguments.record)


if __name__ == "__main__":
    main()
