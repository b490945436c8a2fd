"""A process that holds one fingerprint pipeline: how `fingerprint.py` measures, kept to itself.

    python benchmarks/_fingerprint_worker.py shipped|published --threads N [--watch-memory]

Reads one JSON request a line ({"size_px", "images", "min_seconds"}) and answers each with one line;
ends with its input. Neither pipeline's libraries are in the other's process.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lineup.types import Float32Array, RgbImage, RgbTiles

Pipeline = Callable[[Sequence[RgbImage]], Float32Array]

STATUS = Path("/proc/self/status")
SAMPLE_INTERVAL_S = 0.002


class MemoryWatch:
    """Follows this process's resident memory in a thread.

    The total is the kernel's own high-water mark (`VmHWM`) and misses nothing. Its parts, anonymous
    (`RssAnon`) and file-backed (`RssFile`, `RssShmem`), are sampled; each has its own peak, so that
    they need not add up. `smaps_rollup` would say the same at 10 ms a look, in the way of the work.
    """

    def __init__(self) -> None:
        self._peak_kib = {"anonymous": 0, "file_backed": 0}
        self._samples = 0
        self._lock = threading.Lock()
        if self.available():
            threading.Thread(target=self._follow, daemon=True).start()

    @staticmethod
    def available() -> bool:
        """Return whether this system tells (Linux does)."""
        return STATUS.exists()

    def peaks(self) -> dict[str, float] | None:
        """Return the peaks since the process began, in MiB; None where the system does not tell."""
        if not self.available():
            return None
        self._sample()
        with self._lock:
            return {
                "peak_rss_mib": _kib_from_proc(STATUS)["VmHWM"] / 1024,
                **{f"peak_{part}_mib": kib / 1024 for part, kib in self._peak_kib.items()},
                "samples": self._samples,
            }

    def _follow(self) -> None:
        while True:
            self._sample()
            time.sleep(SAMPLE_INTERVAL_S)

    def _sample(self) -> None:
        now = _kib_from_proc(STATUS)
        parts = {"anonymous": now["RssAnon"], "file_backed": now["RssFile"] + now["RssShmem"]}
        with self._lock:
            self._samples += 1
            for part, kib in parts.items():
                self._peak_kib[part] = max(self._peak_kib[part], kib)


def _kib_from_proc(path: Path) -> dict[str, int]:
    """Return the fields of a file under /proc that are given in kB (which are KiB)."""
    fields = (line.split() for line in path.read_text().splitlines())
    return {field[0].rstrip(":"): int(field[1]) for field in fields if field[-1] == "kB"}


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
    parser.add_argument("--watch-memory", action="store_true")
    options = parser.parse_args()

    watch = MemoryWatch() if options.watch_memory else None
    pipeline, about = OPENERS[options.pipeline](options.threads, options.bundle)
    _say({**about, "memory": watch.peaks() if watch else None})
    for line in sys.stdin:
        request = json.loads(line)
        images = noise_images(request["images"], request["size_px"])
        ms = time_calls(pipeline, images, request["min_seconds"])
        _say({"ms_per_image": ms, "memory": watch.peaks() if watch else None})


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
