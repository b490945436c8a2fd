"""The engine on a toy model: the fingerprint of an image is its mean colour.

Also a program: `python fake_engine.py DELAY_MS ARGUMENTS...` runs `lineup scan ARGUMENTS...` on it,
or `lineup watch ...` where that is the first argument.
"""

import sys
import threading
import time

import numpy as np

from lineup import engine as engine_module
from lineup.engine import Engine
from lineup.fingerprint import Signals
from lineup.gallery.gallery import Gallery
from lineup.gallery.support import SourceRole, SupportSet
from lineup.lineups.store import open_lineup

SIZE = 16
SOURCES = {"reds": (1.0, 0.1, 0.1), "blues": (0.1, 0.1, 1.0)}
SUPPORT = 24


class FakeExtractor:
    """Tiles of 16 px that cover the image; mean colours as fingerprints."""

    parts = ()
    name = digest = "colour"
    dimension = 3
    tells_real = False

    def __init__(self, delay_ms=0.0):
        self.delay_ms = delay_ms
        self.batches = []
        self.poison = set()
        self.main_threads = set()
        self.is_closed = False

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
        return Signals(self.fingerprints_from_tiles(tiles), np.ones(len(tiles), np.float32))

    def fingerprints(self, images):
        return self.fingerprints_from_tiles([self.tiles(one) for one in images])

    def close(self):
        self.is_closed = True


def fake_engine(delay_ms=0.0, sources=SOURCES):
    """The engine on toy fingerprints of some colours."""
    sets = [_support(name, colour) for name, colour in sources.items()]
    gallery = Gallery("colour", {one.name: one for one in sets})
    return Engine(FakeExtractor(delay_ms), lambda: gallery, open_lineup())


def _support(name, colour):
    rows = np.abs(np.array(colour) + np.random.default_rng(1).normal(0, 0.05, (SUPPORT, 3)))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = tuple(f"{name.encode().hex():0>32}{i:0>32}" for i in range(SUPPORT))
    return SupportSet(name, SourceRole.CANDIDATE, rows.astype(np.float32), ids)


if __name__ == "__main__":
    delay_ms, *arguments = sys.argv[1:]
    engine_module.open_engine = lambda *_, **__: fake_engine(float(delay_ms))
    sys.argv = ["lineup", *([] if arguments[0] == "watch" else ["scan"]), *arguments]

    from lineup.cli.main import main

    main()
