from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from lineup import stream
from lineup.errors import BackendError, GalleryError, UsageError
from lineup.files import sha256_from_file
from lineup.fingerprint import Signals
from lineup.gallery.enroll import EnrollOptions, enroll_images
from lineup.gallery.support import STRENGTHS, SourceRole, view_key
from lineup.gallery.views import ENROLLED_CHANNELS
from lineup.imaging.header import DecodeLimits
from lineup.stream import FileInMemory


class MeanColour:
    """A fingerprint of four numbers: the mean colour and a constant; black images have none."""

    name = "mean-colour"
    digest = "a" * 64

    def __init__(self):
        self.batches = []

    def tiles(self, pixels):
        return pixels[None, :8, :8]

    def notes(self, pixels):
        return ()

    def fingerprints_from_tiles(self, tiles):
        self.batches.append(len(tiles))
        means = np.array([tile.mean(axis=(0, 1, 2)) for tile in tiles])
        rows = np.column_stack([means, 10 * means.max(axis=1)])
        with np.errstate(invalid="ignore"):
            return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    def signals_from_tiles(self, tiles):
        return Signals(self.fingerprints_from_tiles(tiles), np.ones(len(tiles), np.float32))


@pytest.fixture
def extractor():
    return MeanColour()


@pytest.fixture
def images(tmp_path):
    """Write `count` different images and return their paths."""
    folder = tmp_path / "images"
    folder.mkdir()

    def write(count, first=0):
        paths = [folder / f"{number:03}.png" for number in range(first, first + count)]
        for number, path in enumerate(paths, start=first):
            cv2.imwrite(str(path), np.full((16, 16, 3), (number + 1, 50, 200), np.uint8))
        return paths

    return write


def test_files_in_memory_are_enrolled_like_those_on_disk(store, extractor, images):
    paths = images(3)
    sent = [FileInMemory(Path(f"sent-{one.name}"), one.read_bytes()) for one in paths]

    report = enroll_images(store, "sd", [*sent, FileInMemory(Path("x"), b"text")], extractor)
    again = enroll_images(store, "sd", paths, extractor)

    assert (report.added, [one.path.name for one in report.failed]) == (3, ["x"])
    assert (again.added, again.present) == (0, 3)
    assert sorted(store.ids("sd")) == sorted(sha256_from_file(path) for path in paths)


def test_images_over_the_limits_of_an_enrolment_are_refused(store, extractor, images):
    options = EnrollOptions(limits=DecodeLimits(max_pixels=10))

    report = enroll_images(store, "sd", images(1), extractor, options=options)

    assert (report.added, len(report.failed)) == (0, 1)


def test_images_are_enrolled_under_the_hash_of_their_file(store, extractor, images):
    paths = images(5)
    report = enroll_images(
        store, "sd", paths, extractor, options=EnrollOptions(provenance="press kit")
    )
    assert (report.seen, report.added, report.present, report.total) == (5, 5, 0, 5)
    support = store.read().source("sd")
    assert support.ids == tuple(sha256_from_file(path) for path in paths)
    assert support.provenance == "press kit"
    assert store.read().fingerprint_name == "mean-colour"


def test_a_grown_folder_costs_only_its_new_images(store, extractor, images, monkeypatch):
    enroll_images(store, "sd", images(5), extractor)
    decoded = []
    decode = stream.encoded_from_bytes
    monkeypatch.setattr(
        stream,
        "encoded_from_bytes",
        lambda data, **options: decoded.append(1) or decode(data, **options),
    )
    report = enroll_images(store, "sd", images(7), extractor)
    assert (report.added, report.present, report.total) == (2, 5, 7)
    assert len(decoded) == 2


def test_images_are_decoded_beside_the_model(store, extractor, images, monkeypatch):
    threads = set()
    decode = stream.encoded_from_bytes

    def watched(data, **options):
        threads.add(threading.get_ident())
        return decode(data, **options)

    monkeypatch.setattr(stream, "encoded_from_bytes", watched)
    enroll_images(store, "sd", images(5), extractor)

    assert threads
    assert threading.get_ident() not in threads


def test_every_image_is_seen_through_every_channel(store, extractor, images):
    enroll_images(store, "sd", images(3), extractor)
    support = store.read().source("sd")
    assert set(support.channels) == set(ENROLLED_CHANNELS)
    for channel in support.channels:
        assert support.seen_through(channel).shape == (3, 4)
        assert support.views[view_key(channel, STRENGTHS)].tolist() == [1, 1, 1]


def test_the_bank_can_be_left_out(store, extractor, images):
    enroll_images(store, "sd", images(3), extractor, options=EnrollOptions(channels=()))
    assert store.read().source("sd").channels == ("clean",)


def test_a_copy_of_an_image_without_a_fingerprint_has_none_either(store, extractor, tmp_path):
    paths = [tmp_path / f"black-{number}.png" for number in range(3)]
    for path in paths:
        cv2.imwrite(str(path), np.zeros((16, 16, 3), np.uint8))

    options = EnrollOptions(batch_size=1)
    report = enroll_images(store, "sd", paths, extractor, options=options)

    assert [failure.path for failure in report.failed] == paths
    assert (report.added, report.present, report.total) == (0, 0, 0)


def test_copies_of_one_image_count_once(store, extractor, images, tmp_path):
    path = images(1)[0]
    copy = tmp_path / "copy.png"
    copy.write_bytes(path.read_bytes())
    report = enroll_images(store, "sd", [path, copy, path], extractor)
    assert (report.added, report.present, report.total) == (1, 2, 1)


def test_unusable_files_are_reported_and_the_rest_enrolled(store, extractor, images, tmp_path):
    text = tmp_path / "text.png"
    text.write_text("not an image")
    black = tmp_path / "black.png"
    cv2.imwrite(str(black), np.zeros((16, 16, 3), np.uint8))
    paths = [text, *images(2), black, tmp_path / "absent.png", *images(1, first=2)]
    report = enroll_images(store, "sd", paths, extractor)
    assert (report.added, report.total) == (3, 3)
    assert [failure.path for failure in report.failed] == [text, black, tmp_path / "absent.png"]
    assert report.failed[1].message == "the image has no usable fingerprint"


def test_every_batch_is_committed(store, extractor, images):
    seen = []

    def on_progress(report):
        manifest = store.manifest()
        stored = 0 if manifest is None else manifest.sources["sd"].count
        seen.append((report.seen, report.added, stored))

    options = EnrollOptions(batch_size=2)
    enroll_images(store, "sd", images(5), extractor, options=options, on_progress=on_progress)
    assert seen == [(1, 0, 0), (2, 2, 2), (3, 2, 2), (4, 4, 4), (5, 4, 4), (5, 5, 5)]
    assert extractor.batches == [len(ENROLLED_CHANNELS)] * 5


@pytest.mark.parametrize("error", [BackendError("out of memory"), KeyboardInterrupt()])
def test_what_was_committed_stays_when_a_later_batch_fails(store, extractor, images, error):
    compute = extractor.fingerprints_from_tiles

    def failing(tiles):
        if len(extractor.batches) == 4:
            raise error
        return compute(tiles)

    extractor.fingerprints_from_tiles = failing
    with pytest.raises(type(error)):
        enroll_images(store, "sd", images(6), extractor, options=EnrollOptions(batch_size=2))
    assert len(store.read().source("sd")) == 4
    extractor.fingerprints_from_tiles = compute
    assert enroll_images(store, "sd", images(6), extractor).added == 2


def test_requests_that_cannot_succeed_are_refused_before_any_work(store, extractor, images):
    enroll_images(store, "sd", images(2), extractor)
    extractor.batches.clear()
    other = MeanColour()
    other.digest = "b" * 64
    for name, used, options, error in [
        ("sd", other, EnrollOptions(), GalleryError),  # all images known, but by another bundle
        ("sd", extractor, EnrollOptions(role=SourceRole.REAL), GalleryError),
        ("../x", extractor, EnrollOptions(), GalleryError),
        ("unknown", extractor, EnrollOptions(), GalleryError),
        ("real", extractor, EnrollOptions(role=SourceRole.CANDIDATE), GalleryError),
        ("sd", extractor, EnrollOptions(batch_size=0), UsageError),
    ]:
        with pytest.raises(error):
            enroll_images(store, name, images(2), used, options=options)
    assert extractor.batches == other.batches == []


class TestBase:
    @pytest.fixture
    def base(self, store, extractor, images):
        enroll_images(
            store, "sd", images(3), extractor, options=EnrollOptions(role=SourceRole.REAL)
        )
        gallery = store.read()
        store.remove("sd")
        return gallery

    def test_its_images_are_not_enrolled_again(self, store, extractor, images, base):
        report = enroll_images(store, "sd", images(5), extractor, base=base)
        assert (report.added, report.present, report.total) == (2, 3, 5)
        assert len(store.read().source("sd")) == 2

    def test_its_role_holds(self, store, extractor, images, base):
        enroll_images(store, "sd", images(5), extractor, base=base)
        assert base.merged_with(store.read()).source("sd").role is SourceRole.REAL
        options = EnrollOptions(role=SourceRole.CANDIDATE)
        with pytest.raises(GalleryError, match="role real, not candidate"):
            enroll_images(store, "sd", images(6), extractor, options=options, base=base)

    def test_its_fingerprint_holds(self, store, extractor, images, base):
        other = dataclasses.replace(base, fingerprint_digest="b" * 64)
        with pytest.raises(GalleryError, match="the shipped gallery was made with"):
            enroll_images(store, "new", images(1), extractor, base=other)
