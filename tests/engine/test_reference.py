"""The reference encoder: embeddings, their key, and the head on the tower's tokens."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import lineup
from lineup.errors import BundleError, BundleFormatError
from lineup.models.encoder import ImageEncoder
from lineup.reference import (
    PHOTOGRAPH_FILE,
    PhotographHead,
    PhotographRecord,
    ReferenceEncoder,
    open_reference_encoder,
)
from lineup.runtime import Runtime

TEXTURE = 3


@pytest.fixture(scope="module")
def encoder():
    with Runtime("cpu", threads=1).open(ImageEncoder, "pocket-clip") as opened:
        yield opened


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


def head_for(encoder, path, **changes):
    size = encoder.dimension(1) + encoder.dimension("final") + TEXTURE
    record = PhotographRecord(
        encoder.source, "print", (1,), 0.5, 2.0, photographs=2, generated=2, details={}
    )
    weights = np.linspace(-1, 1, size).astype(np.float32)
    arrays = {"weights": weights, "photographs": np.ones(4), "generated": -np.ones(4)}
    PHOTOGRAPH_FILE.write(path, dataclasses.replace(record, **changes), arrays)
    return weights


def test_embeddings_join_the_default_block_and_those_around_it(encoder, image, tmp_path):
    reference = ReferenceEncoder(encoder, head_path=tmp_path / "none")
    middle = encoder.default_layer
    assert reference.blocks == (middle - 2, middle, middle + 2)

    look = reference.look([image])

    tokens = np.concatenate([encoder.features([image], one)[0] for one in reference.blocks])
    np.testing.assert_allclose(look.embeddings, [tokens / np.sqrt(3)], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(look.embeddings), 1, atol=1e-6)
    np.testing.assert_array_equal(look.embeddings, reference.embeddings([image]))
    assert look.tokens == ()
    assert reference.key.startswith("embeddings-")


def test_blocks_that_the_tower_lacks_are_left_out(encoder, tmp_path, monkeypatch):
    reference = ReferenceEncoder(encoder, head_path=tmp_path / "none")
    monkeypatch.setattr(encoder, "layers", (encoder.default_layer, encoder.default_layer + 2))

    fewer = ReferenceEncoder(encoder, head_path=tmp_path / "none")

    assert fewer.blocks == encoder.layers
    assert fewer.key != reference.key


def test_another_head_is_another_identity(encoder, tmp_path):
    digests = [ReferenceEncoder(encoder, head_path=tmp_path / "head").head_digest]
    for bias in (0.5, 0.25):
        head_for(encoder, tmp_path / "head", bias=bias)
        digests.append(ReferenceEncoder(encoder, head_path=tmp_path / "head").head_digest)

    assert digests[0] == ""
    assert len(set(digests)) == 3


def test_the_head_reads_blocks_and_the_final_embedding_and_texture(encoder, image, tmp_path):
    weights = head_for(encoder, tmp_path / "head")
    reference = ReferenceEncoder(encoder, head_path=tmp_path / "head")
    head = reference.head("print")
    fingerprint = np.array([[0.5, 0.5, 0.1, -0.2, 0.2]], np.float32)

    look = reference.look([image], head)

    tokens = np.concatenate([encoder.features([image], layer)[0] for layer in (1, "final")])
    features = np.concatenate([tokens, [1 / 3, -2 / 3, 2 / 3]])
    expected = np.clip(features @ weights + 0.5, -2, 2)
    np.testing.assert_allclose(head.llrs(look.tokens, fingerprint), [expected], atol=1e-5)
    np.testing.assert_allclose(look.embeddings, reference.embeddings([image]), atol=1e-5)


def test_an_encoder_that_an_earlier_version_pulled_is_refused(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr("lineup.reference.REFERENCE_BUNDLE", "pocket-clip")
    monkeypatch.setattr("lineup.reference.photograph_path", lambda: tmp_path / "head")
    head_for(encoder, tmp_path / "head", source=f"{encoder.source}/blockwise")

    with pytest.raises(BundleError, match="earlier version") as caught:
        open_reference_encoder(Runtime("cpu"))

    assert "lineup models pull pocket-clip --overwrite" in caught.value.hint


def test_a_head_of_another_tower_or_fingerprint_is_left_alone(encoder, tmp_path):
    head_for(encoder, tmp_path / "head")
    assert ReferenceEncoder(encoder, head_path=tmp_path / "head").head("another") is None

    head_for(encoder, tmp_path / "head", source="another")
    assert ReferenceEncoder(encoder, head_path=tmp_path / "head").head("print") is None


def test_a_damaged_head_is_told(encoder, tmp_path):
    (tmp_path / "head").write_bytes(b"nothing")

    with pytest.raises(BundleFormatError, match="not a valid safetensors file"):
        ReferenceEncoder(encoder, head_path=tmp_path / "head").head("print")


@pytest.mark.parametrize(
    ("llr", "words"),
    [
        (
            -2.0,
            "little like a photograph are 1 in 40 photographs and drawings of the calibration, "
            "and 25 of 100",
        ),
        (
            -3.0,
            "little like a photograph are fewer than 1 in 11 photographs and drawings of the "
            "calibration, and",
        ),
        (-1.0, "of the calibration, and more than 91 of 100 generated images."),
        (
            1.0,
            "much like a photograph are 98 of 100 photographs and drawings of the calibration, "
            "and fewer than",
        ),
        (
            3.0,
            "much like a photograph are 50 of 100 photographs and drawings of the calibration, "
            "and fewer than",
        ),
    ],
)
def test_a_ratio_in_words_claims_no_more_than_its_trials_show(llr, words):
    # 40 images each, two looks of each.
    photographs = np.array([-3.0, *np.full(1, -2.0), *np.full(38, 2.0), *np.full(40, 3.0)])
    generated = np.array([*np.full(20, -3.0), *np.full(60, -1.0)])
    record = PhotographRecord(
        "tower", "print", (1,), 0.0, 3.0, photographs=40, generated=40, details={}
    )
    head = PhotographHead(record, np.ones(1), photographs, generated)

    assert words in head.in_words(llr)


def test_nothing_is_opened_where_the_bundle_is_not():
    assert open_reference_encoder(Runtime("cpu")) is None
    with lineup.open() as engine:
        assert not engine.has_reference
        assert engine.evidence == ("fingerprint",)
