"""A toy engine for the commands that answer about one image: no model is loaded."""

import cv2
import numpy as np
import pytest

from lineup import engine as engine_module
from lineup.closing import ClosesOnExit
from lineup.fingerprint import Signals
from lineup.gallery.gallery import Gallery
from lineup.gallery.support import SourceRole, SupportSet
from lineup.imaging.tiles import TileSpec, tiles_from_image
from lineup.lineups import models as models_module
from lineup.lineups.models import ResynthesisModels
from lineup.lineups.spec import CandidateSpec, LineupSpec
from lineup.lineups.store import create_lineup
from lineup.resynthesis.making import ModelSource
from lineup.resynthesis.resynthesizer import Resynthesizer
from lineup.runtime import Runtime

SIZE_PX = 32


class ColourExtractor(ClosesOnExit):
    """The mean colour, normalised, stands for a fingerprint."""

    parts = ()
    name = "colour"
    digest = "colour"
    dimension = 3
    tells_real = False
    tile_spec = TileSpec(SIZE_PX, 4)

    def tiles(self, pixels):
        return tiles_from_image(pixels, self.tile_spec)

    def fingerprints_from_tiles(self, tiles):
        means = np.stack([one.reshape(-1, 3).mean(axis=0) for one in tiles]) + 1e-3
        return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)

    def signals_from_tiles(self, tiles):
        return Signals(self.fingerprints_from_tiles(tiles), np.ones(len(tiles), np.float32))

    def real_llrs_from_tiles(self, tiles):
        return np.array([one.mean() - 128 for one in tiles], np.float32)

    def fingerprints(self, images):
        return self.fingerprints_from_tiles([self.tiles(image) for image in images])

    def notes(self, pixels):
        return ("small",) if min(pixels.shape[:2]) < SIZE_PX else ()

    def close(self):
        pass


def open_instead(monkeypatch, **toys):
    """Make `Runtime.open` return toys: by kind, what takes the reference, device and threads."""
    original = Runtime.open

    def open_model(self, kind, reference):
        if kind.__name__ not in toys:
            return original(self, kind, reference)
        return toys[kind.__name__](reference, *self._asked)

    monkeypatch.setattr(Runtime, "open", open_model)


@pytest.fixture
def opened(monkeypatch):
    """How extractors were opened by a command; the toy comes back."""
    calls = []

    def open_extractor(bundle, device, threads):
        calls.append({"bundle": bundle, "device": device, "threads": threads})
        return ColourExtractor()

    open_instead(monkeypatch, FingerprintExtractor=open_extractor)
    return calls


def colour_support(name, colour, role=SourceRole.CANDIDATE, count=12):
    rng = np.random.default_rng(len(name))
    rows = np.abs(np.array(colour) + rng.normal(0, 0.05, (count, 3)))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = tuple(f"{name.encode().hex():0>32}{i:0>32}" for i in range(count))
    return SupportSet(name, role, rows.astype(np.float32), ids)


@pytest.fixture
def colour_gallery():
    sets = [
        colour_support("reds", (1, 0, 0)),
        colour_support("blues", (0, 0, 1)),
        colour_support("real", (0.6, 0.6, 0.6), SourceRole.REAL),
    ]
    return Gallery("colour", {one.name: one for one in sets})


@pytest.fixture
def colour_engine(monkeypatch, colour_gallery):
    """Make `open_engine` open the toy extractor and gallery, whatever it is asked for."""
    open_instead(monkeypatch, FingerprintExtractor=lambda *_: ColourExtractor())
    monkeypatch.setattr(engine_module, "known_gallery", lambda *_, **__: colour_gallery)


@pytest.fixture
def toy_lineup(monkeypatch, toy_generators, toy_captioner, toy_encoder):
    """The lineup "toy", whose models are opened without any bundle; tells how they were opened."""
    candidates = (CandidateSpec("reds", "bundle-of-reds"), CandidateSpec("blues", "b"))
    create_lineup(LineupSpec("toy", captioner="c", encoder="e", candidates=candidates))
    opened = []

    def open_models(lineup, fingerprinter, **options):
        opened.append(options)
        resynthesizer = Resynthesizer(
            ModelSource.kept(toy_generators, toy_captioner, toy_encoder),
            fingerprinter=fingerprinter,
        )
        return ResynthesisModels(resynthesizer, families={"reds": "r", "blues": "b"})

    monkeypatch.setattr(models_module, "open_resynthesis_models", open_models)
    return opened


@pytest.fixture
def red_image(tmp_path):
    path = tmp_path / "red.png"
    pixels = np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8)
    pixels[..., 2] = 255  # OpenCV writes BGR
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return path
