from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from lineup.errors import BackendError, ImageError, ImageTooLargeError
from lineup.evidence.batch import FailedFile, FingerprintedFile, fingerprints_from_paths
from lineup.files import sha256_from_file
from lineup.imaging.decode import DecodeLimits


class ColourExtractor:
    """Stands in for a model: the fingerprint is the direction of the mean colour."""

    def __init__(self) -> None:
        self.batch_sizes: list[int] = []
        self.tile_threads: set[int] = set()
        self.model_threads: set[int] = set()

    def tiles(self, pixels):
        self.tile_threads.add(threading.get_ident())
        return pixels.mean(axis=(0, 1)).astype(np.uint8).reshape(1, 1, 1, 3)

    def fingerprints_from_tiles(self, tiles):
        self.model_threads.add(threading.get_ident())
        self.batch_sizes.append(len(tiles))
        rows = np.stack([image.reshape(-1, 3).mean(axis=0) for image in tiles])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    def notes(self, pixels):
        return ("small",) if pixels.shape[0] < 8 else ()


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    made = []
    for i in range(10):
        made.append(tmp_path / f"{i}.png")
        cv2.imwrite(str(made[-1]), np.full((8, 8, 3), (10 * i, 90, 250 - 20 * i), np.uint8))
    return made


def test_answers_come_in_order_with_the_hash_of_the_file(paths):
    files = list(fingerprints_from_paths(paths, ColourExtractor(), batch=3))

    assert [file.path for file in files] == paths
    for i, file in enumerate(files):
        assert isinstance(file, FingerprintedFile)
        assert file.sha256 == sha256_from_file(paths[i])
        colour = np.array([250 - 20 * i, 90, 10 * i], np.float32)  # RGB; OpenCV wrote BGR
        np.testing.assert_allclose(file.fingerprint, colour / np.linalg.norm(colour), rtol=1e-6)


def test_model_gets_full_batches_in_the_calling_thread(paths):
    extractor = ColourExtractor()

    list(fingerprints_from_paths(paths, extractor, batch=4, workers=2))

    assert extractor.batch_sizes == [4, 4, 2]
    assert extractor.model_threads == {threading.get_ident()}
    assert threading.get_ident() not in extractor.tile_threads


def test_files_that_fail_are_answers_in_their_place(paths, tmp_path):
    paths[2].write_bytes(b"")
    paths[5].write_text("no image")
    absent = tmp_path / "absent.png"

    files = list(fingerprints_from_paths([*paths, absent], ColourExtractor(), batch=4))

    failed = {file.path: file for file in files if isinstance(file, FailedFile)}
    assert set(failed) == {paths[2], paths[5], absent}
    assert all(isinstance(file.error, ImageError) for file in failed.values())
    assert failed[absent].sha256 is None
    assert failed[paths[5]].sha256 == sha256_from_file(paths[5])
    assert [file.path for file in files] == [*paths, absent]


def test_batch_of_failures_does_not_reach_the_model(paths):
    for path in paths:
        path.write_bytes(b"")
    extractor = ColourExtractor()

    files = list(fingerprints_from_paths(paths, extractor, batch=4))

    assert len(files) == 10
    assert extractor.batch_sizes == []


def test_large_images_make_smaller_batches(paths):
    class ManyTilesExtractor(ColourExtractor):
        def tiles(self, pixels):
            return np.repeat(super().tiles(pixels), 30, axis=0)

    extractor = ManyTilesExtractor()

    files = list(fingerprints_from_paths(paths, extractor, batch=8))

    assert len(files) == 10
    assert extractor.batch_sizes == [3, 3, 3, 1]  # 64 tiles are reached with the third image


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_answer_that_is_no_fingerprint_is_a_failure_of_that_file(paths, value):
    class BlindExtractor(ColourExtractor):
        def fingerprints_from_tiles(self, tiles):
            rows = super().fingerprints_from_tiles(tiles)
            rows[1] = value
            return rows

    files = list(fingerprints_from_paths(paths[:3], BlindExtractor()))

    assert [isinstance(file, FailedFile) for file in files] == [False, True, False]
    assert files[1].sha256 == sha256_from_file(paths[1])


def test_limits_reach_the_decoder(paths):
    (file,) = fingerprints_from_paths(
        paths[:1], ColourExtractor(), limits=DecodeLimits(max_pixels=63)
    )

    assert isinstance(file, FailedFile)
    assert isinstance(file.error, ImageTooLargeError)


def test_remarks_of_the_extractor_are_kept(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 4, 3), 9, np.uint8))

    (file,) = fingerprints_from_paths([tmp_path / "a.png"], ColourExtractor())

    assert "small" in file.notes


def test_no_paths_give_no_answers():
    assert list(fingerprints_from_paths([], ColourExtractor())) == []


def test_memory_is_bounded_by_two_batches(paths):
    taken = 0

    def counted() -> Iterator[Path]:
        nonlocal taken
        for path in paths:
            taken += 1
            yield path

    files = fingerprints_from_paths(counted(), ColourExtractor(), batch=2)
    next(files)

    assert taken == 4
    files.close()
    assert taken == 4


def test_decoding_goes_on_while_the_model_runs(paths):
    class WaitingExtractor(ColourExtractor):
        def fingerprints_from_tiles(self, tiles):
            # Passes only when the next batch is decoded while this call is still running.
            deadline = time.monotonic() + 10
            while len(decoded) < 8 and not self.batch_sizes:
                assert time.monotonic() < deadline, "nothing was decoded during inference"
                time.sleep(0.001)
            return super().fingerprints_from_tiles(tiles)

        def tiles(self, pixels):
            decoded.append(1)
            return super().tiles(pixels)

    decoded: list[int] = []

    files = list(fingerprints_from_paths(paths, WaitingExtractor(), batch=4))

    assert len(files) == 10


def test_failure_of_the_model_ends_the_run(paths):
    class BrokenExtractor(ColourExtractor):
        def fingerprints_from_tiles(self, tiles):
            raise BackendError("out of memory")

    with pytest.raises(BackendError, match="out of memory"):
        list(fingerprints_from_paths(paths, BrokenExtractor()))
