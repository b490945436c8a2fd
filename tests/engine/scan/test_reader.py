import hashlib
import time

import numpy as np
import pytest

from lineup.imaging.header import DecodeLimits
from lineup.scan.pipeline import Identities
from lineup.stream import BYTES_PER_PIXEL, ImageReader, StreamOptions


@pytest.fixture
def read(engine):
    def read(path, cutter=engine.extractor, done=None, **options):
        read.reader = ImageReader(cutter, is_known=(done or Identities()).holds, **options)
        return read.reader.image_from_file(path)

    return read


def test_an_image_is_read_hashed_decoded_and_cut(tmp_path, write_image, read):
    path = write_image(tmp_path / "x.png", size=(16, 48))
    image = read(path)

    assert image.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert image.size_bytes == path.stat().st_size
    assert (image.format, image.width_px, image.height_px) == ("png", 48, 16)
    assert image.tiles.shape == (3, 16, 16, 3)
    assert image.tile_notes == ("tiny",)
    assert min(image.ms.read, image.ms.decode, image.ms.preprocess) >= 0
    assert image.ms.inference is None


def test_the_times_of_an_image_are_parts_of_the_time_it_took(tmp_path, write_image, read):
    path = write_image(tmp_path / "x.png", size=(16, 48))
    started = time.perf_counter()
    ms = read(path).ms
    took_ms = 1e3 * (time.perf_counter() - started)

    assert 0 < ms.read + ms.decode + ms.preprocess <= took_ms


def test_an_unreadable_file_has_no_hash(tmp_path, read):
    image = read(tmp_path / "missing.png")

    assert image.error.type == "UnreadableImageError"
    assert image.sha256 is image.size_bytes is image.ms.decode is None
    assert image.ms.read >= 0


def test_a_broken_file_keeps_its_hash(tmp_path, read):
    path = tmp_path / "x.png"
    path.write_bytes(b"no image")
    image = read(path)

    assert image.error.type == "UnsupportedImageError"
    assert image.sha256 == hashlib.sha256(b"no image").hexdigest()
    assert image.width_px is image.ms.preprocess is None


def test_a_failing_tile_cutter_is_the_image_s_error(tmp_path, write_image, read, engine):
    class Cutter:
        def tiles(self, pixels):
            raise MemoryError

    image = read(write_image(tmp_path / "x.png"), Cutter())

    assert image.error.type == "MemoryError"
    assert image.width_px == 32
    assert image.tiles is None


def test_what_is_done_is_neither_decoded_nor_delivered(tmp_path, write_image, read, monkeypatch):
    path = write_image(tmp_path / "x.png")
    done = Identities()
    done.add(str(path), read(path).sha256)
    monkeypatch.setattr("lineup.stream.encoded_from_bytes", None)

    assert read(path, done=done) is None


def test_a_changed_file_is_not_done(tmp_path, write_image, read):
    path = write_image(tmp_path / "x.png")
    done = Identities()
    done.add(str(path), "00" * 32)

    assert read(path, done=done).tiles is not None


def test_tiles_do_not_keep_the_whole_image_alive(tmp_path, write_image, read):
    class Cutter:
        def tiles(self, pixels):
            return pixels[None, :16, :16]

        def notes(self, pixels):
            return ()

    tiles = read(write_image(tmp_path / "x.png"), Cutter()).tiles

    assert tiles.base is None
    assert tiles.dtype == np.uint8


def test_nothing_stays_reserved(tmp_path, write_image, read):
    path = write_image(tmp_path / "x.png")
    read(path)

    assert read.reader.files.peak == path.stat().st_size
    assert read.reader.pixels.peak == 32 * 32 * BYTES_PER_PIXEL
    assert read.reader.files._held == read.reader.pixels._held == 0


def test_what_is_too_large_reserves_nothing(tmp_path, write_image, engine):
    path = write_image(tmp_path / "x.png")
    limits = DecodeLimits(max_pixels=100)
    reader = ImageReader(engine.extractor, StreamOptions(limits=limits))

    assert reader.image_from_file(path).error.type == "ImageTooLargeError"
    assert reader.pixels.peak == 0
