"""The reference encoder: embeddings, their key, and the head on the tower's tokens."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import lineup
from lineup.errors import BundleFormatError
from lineup.models.encoder import ImageEncoder
from lineup.reference import (
    PHOTOGRAPH_FILE,
    PhotographRecord,
    ReferenceEncoder,
    open_reference_encoder,
)
from lineup.runtime import Runtime


@pytest.fixture(scope="module")
def encoder():
    with Runtime("cpu", threads=1).open(ImageEncoder, "pocket-clip") as opened:
        yield opened


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


def head_for(encoder, path, **changes):
    size = encoder.dimension(1) + encoder.dimension("final")
    record = PhotographRecord(encoder.source, (1,), bias=0.5, limit=2.0, details={})
    weights = np.linspace(-1, 1, size).astype(np.float32)
    PHOTOGRAPH_FILE.write(path, dataclasses.replace(record, **changes), {"weights": weights})
    return weights


def test_embeddings_are_the_default_block(encoder, image, tmp_path):
    reference = ReferenceEncoder(encoder, head_path=tmp_path / "none")

    look = reference.look([image])

    np.testing.assert_array_equal(look.embeddings, encoder.features([image]))
    assert look.photograph_llrs is None
    assert reference.key.startswith("embeddings-")


def test_the_head_reads_blocks_and_the_final_embedding(encoder, image, tmp_path):
    weights = head_for(encoder, tmp_path / "head")
    reference = ReferenceEncoder(encoder, head_path=tmp_path / "head")

    look = reference.look([image])

    tokens = np.concatenate([encoder.features([image], layer)[0] for layer in (1, "final")])
    expected = np.clip(tokens @ weights + 0.5, -2, 2)
    np.testing.assert_allclose(look.photograph_llrs, [expected], atol=1e-5)
    np.testing.assert_allclose(look.embeddings, encoder.features([image]), atol=1e-5)


def test_a_head_of_another_tower_is_left_alone(encoder, image, tmp_path):
    head_for(encoder, tmp_path / "head", source="another")

    look = ReferenceEncoder(encoder, head_path=tmp_path / "head").look([image])

    assert look.photograph_llrs is None


def test_a_damaged_head_is_told(encoder, image, tmp_path):
    (tmp_path / "head").write_bytes(b"nothing")

    with pytest.raises(BundleFormatError, match="not a valid safetensors file"):
        ReferenceEncoder(encoder, head_path=tmp_path / "head").look([image])


def test_nothing_is_opened_where_the_bundle_is_not():
    assert open_reference_encoder(Runtime("cpu")) is None
    with lineup.open() as engine:
        assert not engine.has_reference
        assert engine.evidence == ("fingerprint",)
