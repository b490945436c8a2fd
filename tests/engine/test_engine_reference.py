"""The reference evidence in every answer, with the pocket tower in place of a real CLIP."""

from __future__ import annotations

import json

import cv2
import jsonschema
import pytest

import lineup
from lineup.errors import BundleError
from lineup.options import AttributionOptions
from lineup.paths import shipped_dir
from lineup_models.samples import SOURCES, draw_image

FIRST, SECOND = (one.stem for one in SOURCES[:2])


@pytest.fixture(autouse=True)
def pocket_tower(monkeypatch):
    """Take the shipped pocket tower for the reference encoder."""
    monkeypatch.setattr("lineup.engine.REFERENCE_BUNDLE", "pocket-clip")
    monkeypatch.setattr("lineup.reference.REFERENCE_BUNDLE", "pocket-clip")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Folders of drawn images, one per source."""
    root = tmp_path_factory.mktemp("drawn")
    for source in SOURCES[:2]:
        (root / source.stem).mkdir()
        for number in range(7):
            pixels = draw_image(source, number)
            cv2.imwrite(str(root / source.stem / f"{number}.png"), pixels[:, :, ::-1])
    return root


@pytest.fixture
def enrolled(drawn, tmp_path):
    """A gallery of six images of each source."""
    folder = tmp_path / "gallery"
    with lineup.open(gallery=folder) as engine:
        for source in (FIRST, SECOND):
            engine.enroll(source, [drawn / source / f"{number}.png" for number in range(6)])
    return folder


def test_every_answer_has_it(drawn, enrolled):
    image = drawn / FIRST / "6.png"
    with lineup.open(gallery=enrolled) as engine:
        row = engine.attribute(image)
        scanned = next(iter(engine.scan([image])))
        verified = engine.verify(image, FIRST)

        assert engine.evidence == ("fingerprint", "reference")
        assert scanned.verdict.posterior == row.verdict.posterior
        named = {one.name: one for one in row.verdict.evidence}
        assert verified.llr == pytest.approx(
            named["fingerprint"].llr[FIRST] + named["reference"].llr[FIRST]
        )
        assert named["reference"].channel is not None
        assert set(engine.scorer.names) == set(engine.reference_scorer.names) == {FIRST, SECOND}
        alone = engine.attribute(image, options=AttributionOptions(evidence=("fingerprint",)))
        assert [one.name for one in alone.verdict.evidence][:1] == ["fingerprint"]
        asked = engine.attribute(image, options=AttributionOptions(evidence=("reference",)))
        assert asked.verdict.posterior == pytest.approx(row.verdict.posterior)
        assert asked.run == row.run != alone.run


def test_fingerprints_alone_open_no_encoder(drawn, enrolled, monkeypatch):
    def outdated(runtime):
        raise BundleError("pulled by an earlier version")

    monkeypatch.setattr("lineup.reference.open_reference_encoder", outdated)
    with lineup.open(gallery=enrolled) as engine:
        alone = AttributionOptions(evidence=("fingerprint",))
        assert engine.attribute(drawn / FIRST / "6.png", options=alone).verdict is not None
        with pytest.raises(BundleError, match="earlier version"):
            engine.attribute(drawn / FIRST / "6.png")


def test_sources_without_embeddings_are_judged_by_fingerprints(drawn, enrolled, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("lineup.engine.REFERENCE_BUNDLE", "none")
        with lineup.open(gallery=enrolled) as engine:
            engine.enroll("later", [drawn / FIRST / "6.png"])

    with lineup.open(gallery=enrolled) as engine:
        row = engine.attribute(drawn / SECOND / "6.png")
        named = {one.name: one for one in row.verdict.evidence}
        assert "later" in named["fingerprint"].llr
        assert "later" not in named["reference"].llr
        assert engine.verify(drawn / SECOND / "6.png", "later").support == 1


def test_rows_keep_their_schema(drawn, enrolled):
    with lineup.open(gallery=enrolled) as engine:
        row = engine.attribute(drawn / FIRST / "6.png").to_dict()

    schema = json.loads((shipped_dir() / "row.schema.json").read_text())
    jsonschema.validate(row, schema)
    assert set(row["evidence"]) >= {"fingerprint", "reference"}
