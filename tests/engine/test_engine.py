"""The engine on what ships: bundle, gallery and samples fit each other and give right answers."""

import base64
import gzip
import json
import math
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import lineup
from lineup.cli.demo import demo
from lineup.errors import GalleryError, SourceNotFoundError, UsageError
from lineup.gallery.gallery import Gallery
from lineup.gallery.opening import open_gallery
from lineup.gallery.support import SourceRole
from lineup.gallery.tensors import write_gallery
from lineup.paths import shipped_dir

SAMPLES = shipped_dir() / "samples"
SHIPPED = (
    "dalle-mini",
    "dalle3",
    "disco-diffusion",
    "gpt-4o",
    "nano-banana",
    "sd-beta",
    "sd15",
    "simulacra",
    "stylegan2-ffhq",
)


@pytest.fixture(scope="module")
def engine():
    with lineup.open(device="cpu", gallery=SAMPLES / "gallery.safetensors") as opened:
        yield opened


def test_the_shipped_gallery_was_made_with_the_shipped_bundle():
    with lineup.open(device="cpu") as engine:
        roles = {name: support.role for name, support in engine.gallery.sources.items()}

    assert roles == {
        **dict.fromkeys(SHIPPED, SourceRole.CANDIDATE),
        "real": SourceRole.REAL,
    }


def test_every_shipped_source_tells_where_it_comes_from():
    for support in open_gallery(shipped_dir() / "gallery.safetensors").sources.values():
        assert len(support.provenance) > 20


@pytest.mark.parametrize(
    ("stem", "source"), [("nearest", "sketch-nearest"), ("shuffle", "sketch-shuffle")]
)
def test_samples_are_attributed_to_what_drew_them(engine, stem, source):
    for path in sorted(SAMPLES.glob(f"{stem}-*.png")):
        verdict = engine.attribute(path).verdict
        verification = engine.verify(path, source)

        assert verdict.label == source
        assert verification.accepted
        assert verification.false_accept_rate < 0.02


def test_what_the_bundle_says_of_photographs_is_evidence(engine):
    image = lineup.read_image(SAMPLES / "nearest-0.png")
    signals = engine.extractor.signals_from_tiles([engine.extractor.tiles(image.pixels)])
    verdict = engine.attribute(image).verdict

    assert verdict.evidence[1].name == "photograph"
    assert verdict.evidence[1].llr == {"photograph": pytest.approx(float(signals.real_llrs[0]))}
    weight = math.exp(verdict.evidence[1].llr["photograph"])
    odds = verdict.posterior["photograph"] / verdict.posterior["generated"]
    assert odds == pytest.approx(weight / (2 - min(1, weight)))


def test_an_evidence_tells_its_cost(engine):
    verdict = engine.attribute(SAMPLES / "nearest-0.png").verdict

    assert verdict.evidence[0].name == "fingerprint"
    assert verdict.evidence[0].cost_ms > 0


def test_verifying_an_unknown_source(engine):
    with pytest.raises(SourceNotFoundError, match="nobody") as caught:
        engine.source("nobody")
    listed = caught.value.message.partition("there are: ")[2].rstrip(".").split(", ")
    assert listed == list(engine.sources)  # without "real", which is no answer
    assert "real" in engine.gallery.sources


def test_the_run_id_follows_the_gallery(engine):
    with lineup.open(device="cpu") as other:
        assert engine.run_id() != other.run_id()
    assert engine.run_id() == engine.run_id()


def test_a_gallery_of_another_fingerprint_is_refused(tmp_path):
    shipped = open_gallery(SAMPLES / "gallery.safetensors")
    other = tmp_path / "other.safetensors"
    write_gallery(other, Gallery("0" * 64, shipped.sources))

    with (
        lineup.open(device="cpu", gallery=other) as engine,
        pytest.raises(GalleryError, match="was made with the fingerprint"),
    ):
        engine.attribute(SAMPLES / "nearest-0.png")


@pytest.mark.parametrize(
    "name", ["results.jsonl", "report.html", "picture.png", "nearest-1-jpeg-70.png"]
)
def test_the_demo_replaces_nothing_unasked(tmp_path, name):
    (tmp_path / name).write_text("mine")

    result = CliRunner().invoke(demo, ["--output", str(tmp_path)])

    assert isinstance(result.exception, UsageError)
    assert f"{name} exists already" in result.exception.message
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_the_demo_scans_the_samples_and_writes_a_report(tmp_path):
    result = CliRunner().invoke(demo, ["--output", str(tmp_path / "out")])

    assert result.exit_code == 0, result.output
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {Path(row["path"]).name: row["verdict"] for row in rows} == {
        "drawing-0.png": "undetermined",
        "drawing-1.png": "generated",
        "nearest-0.png": "sketch-nearest",
        "nearest-1-jpeg-70.png": "sketch-nearest",
        "nearest-1.png": "sketch-nearest",
        "nearest-0-resize-0.75.png": "sketch-nearest",
        "shuffle-0.png": "sketch-shuffle",
        "shuffle-0-resize-1.5.png": "sketch-shuffle",
        "shuffle-1.png": "sketch-shuffle",
    }
    found = {Path(row["path"]).name: row["evidence"]["fingerprint"]["channel"] for row in rows}
    assert found["nearest-1-jpeg-70.png"] == "jpeg:70"
    assert found["nearest-0-resize-0.75.png"] == "resize:0.75"
    assert found["shuffle-0-resize-1.5.png"] == "resize:1.5"
    chunks = re.findall(r'class="rows">([^<]*)<', (tmp_path / "out" / "report.html").read_text())
    drawn = [gzip.decompress(base64.b64decode(one)).decode() for one in chunks]
    assert sum(one.count("data:image/jpeg") for one in drawn) == len(rows)
