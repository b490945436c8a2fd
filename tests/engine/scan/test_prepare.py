import hashlib

import numpy as np
import pytest

from lineup.imaging.decode import DecodeLimits
from lineup.scan.identity import Identities
from lineup.scan.prepare import Preparer


@pytest.fixture
def prepare(engine):
    def prepare(path, cutter=engine.extractor, done=None):
        preparer = Preparer(cutter, DecodeLimits(), "0" * 12, done or Identities(), 10**9)
        prepare.preparer = preparer
        return preparer.prepared_from_path(path)

    return prepare


def test_an_image_is_read_hashed_decoded_and_cut(tmp_path, write_image, prepare):
    path = write_image(tmp_path / "x.png", size=(16, 48))
    prepared = prepare(path)

    assert prepared.row.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert prepared.row.size_bytes == path.stat().st_size
    assert (prepared.row.format, prepared.row.width_px, prepared.row.height_px) == ("png", 48, 16)
    assert prepared.tiles.shape == (3, 16, 16, 3)
    assert prepared.trust_notes == ("tiny",)
    assert min(prepared.row.ms.read, prepared.row.ms.decode, prepared.row.ms.preprocess) >= 0
    assert prepared.row.ms.inference is None


def test_an_unreadable_file_has_no_hash(tmp_path, prepare):
    row = prepare(tmp_path / "missing.png").row

    assert row.error.type == "UnreadableImageError"
    assert row.sha256 is row.size_bytes is row.ms.decode is None
    assert row.ms.read >= 0


def test_a_broken_file_keeps_its_hash(tmp_path, prepare):
    path = tmp_path / "x.png"
    path.write_bytes(b"no image")
    row = prepare(path).row

    assert row.error.type == "UnsupportedImageError"
    assert row.sha256 == hashlib.sha256(b"no image").hexdigest()
    assert row.width_px is row.ms.preprocess is None


def test_a_failing_tile_cutter_is_the_image_s_error(tmp_path, write_image, prepare, engine):
    class Cutter:
        def tiles(self, pixels):
            raise MemoryError

    prepared = prepare(write_image(tmp_path / "x.png"), Cutter())

    assert prepared.row.error.type == "MemoryError"
    assert prepared.row.width_px == 32
    assert prepared.tiles is None


def test_what_is_done_is_neither_decoded_nor_delivered(tmp_path, write_image, prepare, monkeypatch):
    path = write_image(tmp_path / "x.png")
    done = Identities()
    done.add(str(path), prepare(path).row.sha256)
    monkeypatch.setattr("lineup.scan.prepare.encoded_from_bytes", None)

    assert prepare(path, done=done) is None


def test_a_changed_file_is_not_done(tmp_path, write_image, prepare):
    path = write_image(tmp_path / "x.png")
    done = Identities()
    done.add(str(path), "00" * 32)

    assert prepare(path, done=done).tiles is not None


def test_tiles_do_not_keep_the_whole_image_alive(tmp_path, write_image, prepare):
    class Cutter:
        def tiles(self, pixels):
            return pixels[None, :16, :16]

        def notes(self, pixels):
            return ()

    tiles = prepare(write_image(tmp_path / "x.png"), Cutter()).tiles

    assert tiles.base is None
    assert tiles.dtype == np.uint8


def test_nothing_stays_reserved(tmp_path, write_image, prepare):
    path = write_image(tmp_path / "x.png")
    prepare(path)

    assert prepare.preparer.files.peak == path.stat().st_size
    assert prepare.preparer.pixels.peak == 32 * 32 * 6
    assert prepare.preparer.files._held == prepare.preparer.pixels._held == 0


def test_what_is_too_large_reserves_nothing(tmp_path, write_image, engine):
    path = write_image(tmp_path / "x.png")
    limits = DecodeLimits(max_pixels=100)
    preparer = Preparer(engine.extractor, limits, "0" * 12, Identities(), 10**9)

    assert preparer.prepared_from_path(path).row.error.type == "ImageTooLargeError"
    assert preparer.pixels.peak == 0
