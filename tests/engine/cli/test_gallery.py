from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from toy_engine import open_instead

from lineup.cli.enroll import enroll
from lineup.cli.gallery import gallery
from lineup.errors import GalleryError, SourceNotFoundError, UsageError
from lineup.fingerprint import Signals
from lineup.gallery import opening as models_module
from lineup.gallery.gallery import Gallery
from lineup.gallery.opening import user_store
from lineup.gallery.store import GalleryStore
from lineup.gallery.support import SourceRole, SupportSet


class MeanColour:
    """A fingerprint of four numbers; stands for the extractor, so that no model is needed."""

    name = "mean-colour"
    digest = "a" * 64
    batch_limit = None

    def close(self):
        pass

    def tiles(self, pixels):
        return pixels[None, :8, :8]

    def notes(self, pixels):
        return ()

    def fingerprints_from_tiles(self, tiles):
        if self.batch_limit == 0:
            raise KeyboardInterrupt
        if self.batch_limit is not None:
            self.batch_limit -= 1
        means = np.array([tile.mean(axis=(0, 1, 2)) for tile in tiles])
        rows = np.column_stack([means, np.full(len(tiles), 255)])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    def signals_from_tiles(self, tiles):
        return Signals(self.fingerprints_from_tiles(tiles), np.ones(len(tiles), np.float32))


@pytest.fixture(autouse=True)
def extractor(monkeypatch):
    opened = MeanColour()
    opened.asked = None

    def open_extractor(bundle, device, threads):
        opened.asked = (bundle, device, threads)
        return opened

    open_instead(monkeypatch, FingerprintExtractor=open_extractor)
    return opened


@pytest.fixture(autouse=True)
def shipped(tmp_path, monkeypatch):
    """Return a function that enrols a folder's images as a shipped source; there is none yet."""
    monkeypatch.setattr(models_module, "shipped_dir", lambda: tmp_path / "shipped")

    def ship(name, folder, *options):
        store = tmp_path / "to-ship"
        run(enroll, name, folder, "--gallery", store, *options)
        run(gallery, "export", tmp_path / "shipped" / "gallery.safetensors", "--gallery", store)

    return ship


@pytest.fixture
def folder(tmp_path):
    """A folder with three images."""
    return write_images(tmp_path / "images", 3)


def write_images(path, count, first=0):
    path.mkdir(exist_ok=True)
    for number in range(first, first + count):
        pixels = np.full((16, 16, 3), (number + 1, 50, 200), np.uint8)
        cv2.imwrite(str(path / f"{number:03}.png"), pixels)
    return path


def run(command, *arguments, code=0, **options):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], **options)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


class TestEnroll:
    def test_a_folder_is_enrolled_and_counted(self, folder):
        result = run(enroll, "sd", folder, "--provenance", "press kit")
        assert result.stdout == "enrolled 3 new, 0 already there, 0 failed; sd now has 3 images\n"
        assert result.stderr == ""
        assert user_store().read().source("sd").provenance == "press kit"
        write_images(folder, 2, first=3)
        result = run(enroll, "sd", folder)
        assert result.stdout == "enrolled 2 new, 3 already there, 0 failed; sd now has 5 images\n"

    def test_failures_are_listed_and_make_the_exit_code(self, folder, tmp_path):
        (folder / "broken.png").write_bytes(b"text")
        (folder / "loop.png").symlink_to("loop.png")
        absent = tmp_path / "absent.png"
        result = run(enroll, "sd", folder, absent, code=1)
        assert result.stdout == "enrolled 3 new, 0 already there, 3 failed; sd now has 3 images\n"
        lines = result.stderr.splitlines()
        assert len(lines) == 3
        assert lines[0].startswith(f"{folder / 'broken.png'}: ")
        assert lines[1].startswith(f"{folder / 'loop.png'} cannot be read")
        assert lines[2].startswith(f"{absent} does not exist")

    def test_an_interrupt_says_what_stays(self, folder, extractor):
        run(enroll, "sd", folder)
        write_images(folder, 12)
        extractor.batch_limit = 8
        result = run(enroll, "sd", folder, "--batch", 3, code=130)
        assert result.stderr == "Interrupted: 6 new images of sd are enrolled and stay.\n"
        assert result.stdout == ""
        assert len(user_store().read().source("sd")) == 9

    def test_options_reach_the_extractor_and_the_folder(self, folder, tmp_path, extractor):
        own = tmp_path / "own"
        options = ["--fingerprint", "b", "--device", "cuda:1", "--threads", "2", "--gallery", own]
        run(enroll, "flickr", folder, "--role", "real", *options)
        assert extractor.asked == ("b", "cuda:1", 2)
        assert GalleryStore(own).read().source("flickr").role.value == "real"
        assert user_store().manifest() is None

    def test_shipped_images_are_already_there(self, folder, shipped, tmp_path):
        shipped("sd", folder)
        write_images(folder, 4)
        result = run(enroll, "sd", folder)
        assert result.stdout == "enrolled 1 new, 3 already there, 0 failed; sd now has 4 images\n"
        assert len(user_store().read().source("sd")) == 1

    def test_nothing_to_enrol_is_a_usage_error(self, tmp_path, extractor):
        (tmp_path / "empty").mkdir()
        with pytest.raises(UsageError, match="No images in"):
            run(enroll, "sd", tmp_path / "empty")
        with pytest.raises(GalleryError, match="cannot name a source"):
            run(enroll, "a/b", tmp_path)
        assert extractor.asked is None


class TestList:
    def test_sources_are_listed_with_their_origin(self, folder, shipped):
        shipped("sd", folder, "--provenance", "drawn 2023-24")
        run(enroll, "real", folder)
        lines = run(gallery, "list").stdout.splitlines()
        assert lines[0].split() == [
            "source",
            "role",
            "images",
            "channels",
            "collected",
            "stored",
        ]
        assert lines[1].split() == ["sd", "candidate", "3", "6", "2023-24", "shipped"]
        assert lines[2].split() == ["real", "real", "3", "6", "?", "user"]
        assert "A gallery ages" in lines[4]
        assert max(map(len, lines)) <= 80

    def test_alike_sources_are_named_as_a_family(self, tmp_path):
        for number in range(12):
            write_images(tmp_path / ("one", "two")[number % 2], 1, number)
        for name in ("one", "two"):
            run(enroll, name, tmp_path / name)
        assert "One family by fingerprint: one, two." in run(gallery, "list").stdout.splitlines()

    def test_generators_that_take_part_unnamed_are_told(self, folder, shipped, tmp_path):
        shipped("dalle3", folder)
        write_images(tmp_path / "more", 2, 7)
        run(enroll, "sd", tmp_path / "more", "--gallery", tmp_path / "other")
        others = "What other generators are like, never named: dalle3."
        assert others in run(gallery, "list", "--gallery", tmp_path / "other").stdout.splitlines()
        assert "never named" not in run(gallery, "list").stdout

    def test_galleries_of_two_fingerprints_are_listed_and_told(self, folder, shipped, extractor):
        shipped("sd", folder)
        store = user_store()
        fingerprints = np.ones((1, 1), np.float32)
        support = SupportSet("own", SourceRole.CANDIDATE, fingerprints, ("b" * 64,))
        store.merge(Gallery("c" * 64, {"own": support}, "another"))
        result = run(gallery, "list")
        assert ["own", "candidate", "1", "?", "?", "user"] in map(
            str.split, result.stdout.splitlines()
        )
        assert "was made with the fingerprint" in result.stderr

    def test_json(self, folder):
        assert json.loads(run(gallery, "list", "--json").stdout) == []
        run(enroll, "sd", folder)
        (entry,) = json.loads(run(gallery, "list", "--json").stdout)
        assert entry.pop("updated").endswith("+00:00")
        assert entry == {
            "name": "sd",
            "role": "candidate",
            "count": 3,
            "origin": "user",
            "provenance": "",
            "fingerprint": "a" * 64,
            "years": "",
        }

    def test_an_empty_gallery_says_what_to_do(self, tmp_path):
        result = run(gallery, "list")
        assert result.stdout == ""
        assert "lineup enroll" in result.stderr
        with pytest.raises(GalleryError, match="is not a gallery"):
            run(gallery, "list", "--gallery", tmp_path / "absent")


class TestShow:
    def test_one_source_is_described(self, folder, tmp_path):
        run(enroll, "sd", folder)
        lines = dict(line.split(None, 1) for line in run(gallery, "show", "sd").stdout.splitlines())
        assert lines["images"] == "3"
        assert lines["stored"] == "user"
        assert lines["provenance"] == "not given"
        assert 0.99 < float(lines["coherence"]) <= 1
        record = json.loads(run(gallery, "show", "sd", "--json").stdout)
        assert record["origins"] == ["user"]
        assert record["coherence"] == pytest.approx(float(lines["coherence"]), abs=1e-4)
        run(enroll, "one", write_images(tmp_path / "one", 1))
        assert "needs two images" in run(gallery, "show", "one").stdout

    def test_an_absent_source_is_told(self, folder):
        run(enroll, "sd", folder)
        with pytest.raises(SourceNotFoundError, match="there are: sd"):
            run(gallery, "show", "sdxl")


class TestRemove:
    def test_it_asks_first(self, folder):
        run(enroll, "sd", folder)
        refused = run(gallery, "remove", "sd", input="n\n", code=1)
        assert "Remove sd with 3 images?" in refused.stderr
        assert user_store().read().sources
        run(gallery, "remove", "sd", input="y\n")
        assert not user_store().read().sources

    def test_shipped_sources_stay(self, folder, shipped):
        shipped("sd", folder)
        with pytest.raises(UsageError, match="ships with lineup"):
            run(gallery, "remove", "sd", "--yes")
        run(enroll, "sd", write_images(folder, 4))
        result = run(gallery, "remove", "sd", "--yes")
        assert result.stdout == "removed sd; the shipped images of the same name stay\n"
        assert len(models_module.shipped_gallery().source("sd")) == 3

    def test_an_absent_source_is_told(self, folder):
        run(enroll, "sd", folder)
        with pytest.raises(SourceNotFoundError, match="there are: sd"):
            run(gallery, "remove", "sdxl", "--yes")


class TestExportAndImport:
    def test_a_gallery_travels_as_one_file(self, folder, tmp_path):
        run(enroll, "sd", folder)
        run(enroll, "real", folder)
        archive = tmp_path / "all.safetensors"
        assert run(gallery, "export", archive).stdout == f"wrote real, sd to {archive}\n"
        other = tmp_path / "other"
        result = run(gallery, "import", archive, "--gallery", other)
        assert result.stdout.splitlines() == [
            "real: imported 3 new, 0 already there",
            "sd: imported 3 new, 0 already there",
        ]
        digest = user_store().read().digest
        assert GalleryStore(other).read().digest == digest
        assert "sd: imported 0 new, 3 already there" in run(gallery, "import", archive).stdout
        assert user_store().read().digest == digest

    def test_one_source_is_exported_alone(self, folder, tmp_path):
        run(enroll, "sd", folder)
        run(enroll, "real", folder)
        archive = tmp_path / "sd.safetensors"
        assert (
            run(gallery, "export", archive, "--source", "sd").stdout == f"wrote sd to {archive}\n"
        )
        with pytest.raises(SourceNotFoundError):
            run(gallery, "export", archive, "--source", "sdxl")

    def test_a_folder_is_merged(self, folder, tmp_path):
        other = tmp_path / "other"
        run(enroll, "sd", folder, "--gallery", other)
        assert run(gallery, "import", other).stdout == "sd: imported 3 new, 0 already there\n"
        assert list(user_store().read().sources) == ["sd"]

    def test_what_is_shipped_is_not_stored_again(self, folder, shipped, tmp_path):
        shipped("sd", folder)
        archive = tmp_path / "all.safetensors"
        run(gallery, "export", archive)
        assert run(gallery, "import", archive).stdout == "sd: imported 0 new, 3 already there\n"
        assert user_store().manifest() is None

    def test_a_hostile_file_is_an_error(self, tmp_path):
        path = tmp_path / "x.safetensors"
        path.write_bytes(b"\xff" * 64)
        with pytest.raises(GalleryError, match="not a valid safetensors file"):
            run(gallery, "import", path)


def test_progress_is_shown_on_a_terminal_only(folder, monkeypatch):
    from rich.console import Console

    monkeypatch.setattr(Console, "is_terminal", property(lambda self: True))
    result = run(enroll, "sd", folder)
    assert "enrolling sd" in result.stderr
    assert result.stdout == "enrolled 3 new, 0 already there, 0 failed; sd now has 3 images\n"
