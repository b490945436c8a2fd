"""A stand-in for `lineup.engine`: the fingerprint of an image is its mean colour.

Also a program: `python fake_engine.py DELAY_MS ARGUMENTS...` runs `lineup scan ARGUMENTS...` on it.
"""

import hashlib
import sys
import threading
import time
import types

import numpy as np

from lineup.evidence.batch import Signals
from lineup.results import Evidence, Verdict

SIZE = 16
SOURCES = {"reds": (1.0, 0.0, 0.0), "blues": (0.0, 0.0, 1.0)}


class FakeExtractor:
    """Tiles of 16 px that cover the image; mean colours as fingerprints."""

    dimension = 3
    tells_real = False

    def __init__(self, delay_ms=0.0):
        self.delay_ms = delay_ms
        self.batches = []
        self.poison = set()
        self.main_threads = set()

    def tiles(self, pixels):
        height, width = pixels.shape[0] // SIZE, pixels.shape[1] // SIZE
        cut = pixels[: height * SIZE, : width * SIZE].reshape(height, SIZE, width, SIZE, 3)
        return np.ascontiguousarray(cut.swapaxes(1, 2)).reshape(-1, SIZE, SIZE, 3)

    def notes(self, pixels):
        return ("tiny",) if pixels.shape[0] < 2 * SIZE else ()

    def fingerprints_from_tiles(self, tiles):
        self.batches.append([len(one) for one in tiles])
        self.main_threads.add(threading.current_thread())
        time.sleep(self.delay_ms * len(tiles) / 1e3)
        means = np.stack([one.mean(axis=(0, 1, 2)) for one in tiles]).astype(np.float32)
        if any(tuple(mean.round().astype(int)) in self.poison for mean in means):
            raise RuntimeError("the model choked")
        return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-6)

    def signals_from_tiles(self, tiles):
        return Signals(self.fingerprints_from_tiles(tiles))


class FakeEngine:
    def __init__(self, delay_ms=0.0, sources=SOURCES):
        self.extractor = FakeExtractor(delay_ms)
        self.sources = sources
        self.is_closed = False

    def verdicts(self, fingerprints, *, real_llrs, notes, costs_ms):
        return [
            self._verdict(fingerprint, *given)
            for fingerprint, *given in zip(fingerprints, notes, costs_ms, strict=True)
        ]

    def _verdict(self, fingerprint, notes, cost_ms):
        scores = {name: float(fingerprint @ np.float32(one)) for name, one in self.sources.items()}
        llr = {name: 8 * score - 4 for name, score in scores.items()}
        odds = {
            **{name: float(np.exp(one)) for name, one in llr.items()},
            "unknown": 1.0,
            "real": 0.5,
        }
        posterior = {name: one / sum(odds.values()) for name, one in odds.items()}
        evidence = Evidence("fingerprint", scores, llr, cost_ms, notes)
        return Verdict(max(posterior, key=posterior.get), posterior, (evidence,))

    def run_id(self, evidence):
        return hashlib.sha256(repr((sorted(self.sources), *evidence)).encode()).hexdigest()[:12]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.is_closed = True


def engine_module(engine):
    """A module to stand for `lineup.engine`, which opens `engine`."""
    module = types.ModuleType("lineup.engine")
    module.asked_for = []

    def open_engine(**options):
        module.asked_for.append(options)
        return engine

    module.open_engine = open_engine
    return module


if __name__ == "__main__":
    delay_ms, *arguments = sys.argv[1:]
    sys.modules["lineup.engine"] = engine_module(FakeEngine(float(delay_ms)))
    sys.argv = ["lineup", "scan", *arguments]

    from lineup.cli.main import main

    main()
