"""Rows of many files: what the model says of each, in order, and who failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from lineup.errors import BackendError
from lineup.files import sha256_from_file
from lineup.imaging.header import DecodeLimits
from lineup.stream import StreamOptions, rows_from_paths


class ColourExtractor:
    """Stands in for a model: the fingerprint is the direction of the mean colour."""

    parts = ()

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


def rows(paths, extractor, **options):
    compute = extractor.fingerprints_from_tiles
    return rows_from_paths(paths, extractor, compute, StreamOptions(**options))


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    made = []
    for i in range(10):
        made.append(tmp_path / f"{i}.png")
        cv2.imwrite(str(made[-1]), np.full((8, 8, 3), (10 * i, 90, 250 - 20 * i), np.uint8))
    return made


def test_answers_come_in_order_with_the_hash_of_the_file(paths):
    answers = list(rows(paths, ColourExtractor(), group_images=3))

    assert [image.path for image, _ in answers] == paths
    for i, (image, row) in enumerate(answers):
        assert image.sha256 == sha256_from_file(paths[i])
        assert image.tiles is None
        colour = np.array([250 - 20 * i, 90, 10 * i], np.float32)  # RGB; OpenCV wrote BGR
        np.testing.assert_allclose(row, colour / np.linalg.norm(colour), rtol=1e-6)


def test_model_gets_full_batches_in_the_calling_thread(paths):
    extractor = ColourExtractor()

    list(rows(paths, extractor, group_images=4, workers=2))

    assert extractor.batch_sizes == [4, 4, 2]
    assert extractor.model_threads == {threading.get_ident()}
    assert threading.get_ident() not in extractor.tile_threads


def test_files_that_fail_are_answers_in_their_place(paths, tmp_path):
    paths[2].write_bytes(b"")
    paths[5].write_text("no image")
    absent = tmp_path / "absent.png"

    files = list(rows([*paths, absent], ColourExtractor(), group_images=4))

    failed = {image.path: image for image, row in files if row is None}
    assert {path: image.error.type for path, image in failed.items()} == {
        paths[2]: "UnreadableImageError",
        paths[5]: "UnsupportedImageError",
        absent: "UnreadableImageError",
    }
    assert failed[absent].sha256 is None
    assert failed[paths[5]].sha256 == sha256_from_file(paths[5])
    assert [image.path for image, _ in files] == [*paths, absent]


def test_batch_of_failures_does_not_reach_the_model(paths):
    for path in paths:
        path.write_bytes(b"")
    extractor = ColourExtractor()

    files = list(rows(paths, extractor, group_images=4))

    assert len(files) == 10
    assert extractor.batch_sizes == []


def test_large_images_make_smaller_batches(paths):
    class ManyTilesExtractor(ColourExtractor):
        def tiles(self, pixels):
            return np.repeat(super().tiles(pixels), 30, axis=0)

    extractor = ManyTilesExtractor()

    files = list(rows(paths, extractor, group_images=8))

    assert len(files) == 10
    assert extractor.batch_sizes == [2, 2, 2, 2, 2]  # three would exceed 64 tiles


def test_limits_reach_the_decoder(paths):
    ((image, row),) = rows(paths[:1], ColourExtractor(), limits=DecodeLimits(max_pixels=63))

    assert row is None
    assert image.error.type == "ImageTooLargeError"


def test_remarks_of_the_extractor_are_kept(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 4, 3), 9, np.uint8))

    ((image, _),) = rows([tmp_path / "a.png"], ColourExtractor())

    assert image.tile_notes == ("small",)


def test_no_paths_give_no_answers():
    assert list(rows([], ColourExtractor())) == []


def test_no_more_paths_are_taken_than_the_look_ahead_admits(paths):
    taken = 0

    def counted() -> Iterator[Path]:
        nonlocal taken
        for path in paths:
            taken += 1
            yield path

    files = rows(counted(), ColourExtractor(), group_images=1, look_ahead_images=3)
    next(files)

    assert taken <= 1 + 3 + 1  # the one answered, those ahead, the one that waits for room
    files.close()


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

    files = list(rows(paths, WaitingExtractor(), group_images=4))

    assert len(files) == 10


def test_failure_of_the_model_ends_the_run(paths):
    class BrokenExtractor(ColourExtractor):
        def fingerprints_from_tiles(self, tiles):
            raise BackendError("out of memory")

    with pytest.raises(BackendError, match="out of memory"):
        list(rows(paths, BrokenExtractor()))
