"""Fitting the real head on a tiny bank."""

import json

import cv2
import numpy as np
import pytest

from lineup.errors import BundleFormatError, UsageError
from lineup_models.fingerprint.checkpoint import (
    Checkpoint,
    Whitening,
    add_real_head,
    read_checkpoint,
    write_checkpoint,
)
from lineup_models.fingerprint.real_head import STATISTICS
from lineup_models.fingerprint.real_training import (
    RealOptions,
    fit_real_head,
    real_weights_from_statistics,
)
from lineup_models.fingerprint.spec import LATTICE_DIMENSION, ChannelMean, SpectrumSpec

SPEC = SpectrumSpec(tile_size_px=32, pool_height=8, pool_width=4, axes=2)


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    for seed in range(6):
        noise = np.random.default_rng(seed).integers(0, 256, (80, 80, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "photos" / f"{seed}.png"), cv2.GaussianBlur(noise, (0, 0), 1))
    return tmp_path / "photos"


@pytest.fixture
def bank(tmp_path):
    shard = tmp_path / "bank" / "models-00000"
    shard.mkdir(parents=True)
    (tmp_path / "bank" / "bank.json").write_text("{}")
    (shard / "shard.json").write_text('{"models": ["a"]}')
    images = np.random.default_rng(0).integers(90, 160, (8, 32, 32, 3), np.uint8)
    np.save(shard / "images.npy", images.repeat(2, 1).repeat(2, 2)[:, :32, :32])
    return tmp_path / "bank"


def test_a_fit_can_be_repeated_and_says_what_it_saw(photos, bank):
    options = RealOptions(hold_out=2)
    first, record = fit_real_head(photos, bank, SPEC, options)
    again, _ = fit_real_head(photos, bank, SPEC, options)

    assert first.weights.shape == (STATISTICS,)
    assert (first.weights == again.weights).all()
    assert (record["photographs"], record["photographs_held_out"]) == (4, 2)
    assert record["tiles_of_photographs"] == 20
    assert 8 <= record["tiles_of_reconstructions"] <= 16
    json.dumps(record)


def test_classes_that_differ_are_told_apart_and_constants_ignored():
    random = np.random.default_rng(0)
    real = random.normal(0, 1, (50, STATISTICS))
    generated = random.normal(0, 1, (400, STATISTICS))
    generated[:, 3] += 4
    real[:, 5] = generated[:, 5] = 7
    fit = real_weights_from_statistics(real, generated, RealOptions())

    assert np.abs(fit.weights).argmax() == 3
    assert fit.weights[3] > 0
    assert fit.deviation[5] == 1


def test_a_bank_without_images_is_refused(photos, bank):
    (bank / "models-00000" / "images.npy").unlink()

    with pytest.raises(UsageError, match="has no images"):
        fit_real_head(photos, bank, SPEC, RealOptions(hold_out=2))


def test_a_grey_spectrum_is_refused_at_once(photos, bank):
    grey = SpectrumSpec(channel_mean=ChannelMean.PIXELS)

    with pytest.raises(UsageError, match="residual per channel"):
        fit_real_head(photos, bank, grey, RealOptions())


@pytest.fixture
def checkpoint(tmp_path):
    fit = Whitening(
        mean=np.zeros(SPEC.dimension),
        axes=np.eye(2, SPEC.dimension, dtype=np.float32),
        variances=np.ones(2),
        floor=0.1,
        lattice_mean=np.zeros(LATTICE_DIMENSION),
        lattice_deviation=np.ones(LATTICE_DIMENSION),
    )
    write_checkpoint(Checkpoint(SPEC, fit, {"photographs": 3}), tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_the_head_lies_in_the_checkpoint_and_comes_back(checkpoint):
    random = np.random.default_rng(0)
    real, generated = random.normal(0, 1, (2, 30, STATISTICS))
    head = real_weights_from_statistics(real, generated, RealOptions(odd=0.1))

    assert read_checkpoint(checkpoint).real is None
    add_real_head(checkpoint, head, {"seed": 4})
    read = read_checkpoint(checkpoint)

    assert read.real is not None
    assert (read.real.weights == head.weights).all()
    assert (read.real.bias, read.real.odd) == (head.bias, 0.1)
    assert read.real_record == {"seed": 4}
    assert read.record == {"photographs": 3}


def test_a_head_of_another_length_is_refused(checkpoint):
    head = real_weights_from_statistics(np.ones((2, 3)), np.zeros((2, 3)), RealOptions())
    add_real_head(checkpoint, head, {})

    with pytest.raises(BundleFormatError, match="another length"):
        read_checkpoint(checkpoint)
