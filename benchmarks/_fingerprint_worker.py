"""A process that holds one fingerprint pipeline: how `fingerprint.py` measures, kept to itself.

    python benchmarks/_fingerprint_worker.py shipped|published --threads N

Reads one JSON request a line ({"size_px", "images", "min_seconds"}) and answers each with one line;
ends with its input. Neither pipeline's libraries are in the other's process.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lineup.types import Float32Array, RgbImage, RgbTiles

Pipeline = Callable[[Sequence[RgbImage]], Float32Array]


def noise_images(count: int, size_px: int) -> list[RgbImage]:
    """Return images of noise; neither pipeline's cost depends on what it sees."""
    rng = np.random.default_rng(size_px)
    return [rng.integers(0, 256, (size_px, size_px, 3), dtype=np.uint8) for _ in range(count)]


def tiles_side_by_side(pixels: RgbImage, tile_px: int) -> RgbTiles:
    """Cut an image whose sides are multiples of `tile_px`.

    Does what `lineup.imaging.tiles` does with such an image, without loading OpenCV.
    """
    rows, columns = (side // tile_px for side in pixels.shape[:2])
    grid = pixels.reshape(rows, tile_px, columns, tile_px, 3).swapaxes(1, 2)
    tiles: RgbTiles = grid.reshape(rows * columns, tile_px, tile_px, 3)
    return tiles


def open_shipped_pipeline(threads: int, bundle: str | None) -> tuple[Pipeline, dict[str, Any]]:
    """Load a bundle as the engine does; return it and what it is."""
    import onnxruntime  # noqa: PLC0415 - belongs to this pipeline's process alone

    from lineup.fingerprint import DEFAULT_BUNDLE, FingerprintExtractor  # noqa: PLC0415
    from lineup.runtime import Runtime  # noqa: PLC0415

    extractor = Runtime("cpu", threads=threads).open(FingerprintExtractor, bundle or DEFAULT_BUNDLE)
    about = {
        "name": extractor.name,
        "digest": extractor.digest,
        "dimension": extractor.dimension,
        "runtime": f"onnxruntime {onnxruntime.__version__}",
    }
    return extractor.fingerprints, about


def open_published_pipeline(threads: int, _bundle: str | None) -> tuple[Pipeline, dict[str, Any]]:
    """Build the published pipeline in PyTorch; return it and what it is."""
    import torch  # noqa: PLC0415

    import _published  # noqa: PLC0415 - belongs to this pipeline's process alone

    network = _published.open_published(threads)

    def fingerprints(images: Sequence[RgbImage]) -> Float32Array:
        tiles = [tiles_side_by_side(pixels, _published.TILE_PX) for pixels in images]
        return network.fingerprints_from_tiles(tiles)

    about = {
        "name": "DnCNN 17x64, log amplitude 222x222x3, ResNet-50",
        "weights": "random",
        "dimension": _published.EMBEDDING_DIMENSION,
        "runtime": f"PyTorch {torch.__version__} eager fp32",
    }
    return fingerprints, about


OPENERS = {"shipped": open_shipped_pipeline, "published": open_published_pipeline}


def time_calls(
    pipeline: Pipeline, images: Sequence[RgbImage], min_seconds: float
) -> dict[str, float]:
    """Time as many calls as fill `min_seconds`, at least one; return milliseconds per image.

    "wall" is what a clock on the wall shows, "cpu" the time of all threads on a core: the first
    grows with what else the machine does, the second hardly.

    A short call among busy neighbours says little; filling the same window gives both pipelines
    the same mean of what else the machine does.
    """
    calls, started, cpu_started = 0, time.perf_counter(), time.process_time()
    while calls == 0 or time.perf_counter() - started < min_seconds:
        pipeline(images)
        calls += 1
    ms_per_image = 1e3 / (calls * len(images))
    return {
        "wall": (time.perf_counter() - started) * ms_per_image,
        "cpu": (time.process_time() - cpu_started) * ms_per_image,
    }


def main() -> None:
    """Load the pipeline, say what it is, and answer requests."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pipeline", choices=sorted(OPENERS))
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--bundle")
    options = parser.parse_args()
    pipeline, about = OPENERS[options.pipeline](options.threads, options.bundle)
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        images = noise_images(request["images"], request["size_px"])
        ms = time_calls(pipeline, images, request["min_seconds"])
        print(json.dumps({"ms_per_image": ms}), flush=True)


if __name__ == "__main__":
    main()
