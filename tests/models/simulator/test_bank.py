from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from simulated_ids import identity_from_id

from lineup.errors import UsageError
from lineup.types import Float32Array, RgbImage
from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.fingerprint.spectrum import PooledSpectrum
from lineup_models.simulator.bank import BankFiller, BankOptions, fill_bank
from lineup_models.simulator.bank_reader import (
    add_features,
    one_image_per_generator,
    read_bank,
)
from lineup_models.simulator.features import features_from_spectrum
from lineup_models.simulator.identity import SimulatedModel
from lineup_models.simulator.network import Simulator, TrainedSimulator, write_simulator
from lineup_models.training import Item

OPTIONS = BankOptions(
    models=5,
    own_images=2,
    shared_images=1,
    size_px=64,
    models_per_shard=2,
    hold_out=1,
    degraded_versions=2,
)


def mean_colour(images: Sequence[RgbImage]) -> Float32Array:
    return np.stack([image.mean(axis=(0, 1)) for image in images]).astype(np.float32)


@pytest.fixture
def weights(
    toy_simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Path]:
    monkeypatch.setattr("lineup_models.simulator.bank.CALIBRATION_PX", 64)
    path = tmp_path / "weights" / "simulator.safetensors"
    write_simulator(TrainedSimulator(toy_simulator), path)
    return {"toy": path}


@pytest.fixture
def folder(photos: Path, weights: dict[str, Path], tmp_path: Path) -> Path:
    output = tmp_path / "bank"
    fill_bank(photos, weights, output, OPTIONS)
    add_features(output, "colour", mean_colour)
    return output


def test_holds_what_the_options_ask_for(folder: Path) -> None:
    bank = read_bank(folder, "colour")
    made = ~bank.is_photograph
    assert np.bincount(bank.model[made]).tolist() == [3] * 5
    assert bank.shared[made].sum() == 5
    assert len(set(zip(bank.photograph[bank.shared], bank.crop[bank.shared], strict=True))) == 1
    assert bank.is_photograph.sum() == 5 * 2
    assert len(bank.model_ids) == len(set(bank.model_ids.values())) == 5
    assert bank.clean.shape == (25, 3)
    assert bank.clean.dtype == np.float16
    assert bank.degraded.shape == (25, 2, 3)
    assert bank.degradations.shape == (25, 2, 5)
    assert np.isfinite(bank.psnr_db[made]).all()
    assert np.isnan(bank.psnr_db[bank.is_photograph]).all()


def test_held_out_photographs_stay_out(folder: Path, photos: Path) -> None:
    header = json.loads((folder / "bank.json").read_text())
    assert len(header["photographs"]) == len(list(photos.iterdir())) - 1


def test_ids_give_the_very_images_again(
    folder: Path, photos: Path, weights: dict[str, Path]
) -> None:
    filler = BankFiller(photos, weights, OPTIONS)
    identity = identity_from_id(read_bank(folder, "colour").model_ids[4])
    model = SimulatedModel(
        filler.simulators, identity, strength=OPTIONS.strength, calibration=filler.calibration
    )
    images = np.load(folder / "models-00002" / "images.npy")
    assert np.array_equal(model.reconstructions(filler.originals(4)[1]), images)


def test_goes_on_where_it_stopped(
    folder: Path, photos: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    other = tmp_path / "parts"

    def first_two(_name: str, shards: Sequence[Item]) -> Sequence[Item]:
        return shards[:2]

    fill_bank(photos, weights, other, OPTIONS, watch=first_two)
    assert len(list(other.glob("*/shard.json"))) == 2
    add_features(other, "colour", mean_colour, watch=first_two)
    fill_bank(photos, weights, other, OPTIONS)
    add_features(other, "colour", mean_colour)
    whole, parts = read_bank(folder, "colour"), read_bank(other, "colour")
    assert np.array_equal(whole.degraded, parts.degraded)
    assert whole.model_ids == parts.model_ids


def test_other_options_are_refused(folder: Path, photos: Path, weights: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="other options"):
        fill_bank(photos, weights, folder, replace(OPTIONS, seed=1))


def test_features_can_be_added_later(folder: Path) -> None:
    def brightness(images: Sequence[RgbImage]) -> Float32Array:
        return mean_colour(images).mean(axis=1, keepdims=True)

    assert add_features(folder, "brightness", brightness) == 5
    assert add_features(folder, "brightness", brightness) == 0
    bank, colour = read_bank(folder, "brightness"), read_bank(folder, "colour")
    assert np.allclose(bank.degraded, colour.degraded.mean(axis=2, keepdims=True), atol=0.5)
    assert np.array_equal(bank.degradations, colour.degradations)


def test_features_that_nobody_computed(folder: Path) -> None:
    with pytest.raises(UsageError, match="features 'none'"):
        read_bank(folder, "none")


def test_a_folder_that_is_no_bank(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a bank"):
        read_bank(tmp_path, "colour")


def test_spectra_are_averaged_over_the_tiles_of_an_image() -> None:
    spec = SpectrumSpec(tile_size_px=64, pool_height=16, pool_width=8)
    features = features_from_spectrum(PooledSpectrum(spec).eval())
    image = np.random.default_rng(0).integers(0, 255, (64, 128, 3), dtype=np.uint8)
    whole, left, right = features([image, image[:, :64], image[:, 64:]])
    assert whole.shape == (128,)
    assert np.allclose(whole, (left + right) / 2, atol=1e-5)


def test_an_image_of_some_generators_comes_back(folder: Path) -> None:
    chosen = dict(one_image_per_generator(folder, 2))

    assert sorted(chosen) == [0, 2]
    own = read_bank(folder, "colour")
    first = np.flatnonzero((own.model == 2) & ~own.shared)[0]
    expected = own.clean[first].astype(np.float32)
    np.testing.assert_allclose(chosen[2].mean(axis=(0, 1)), expected, atol=0.1)


def test_more_generators_than_there_are_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="5 generators, fewer than 9"):
        list(one_image_per_generator(folder, 9))


def test_fewer_photographs_and_no_degraded_versions(
    photos: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    options = replace(OPTIONS, photographs=2, photograph_crops=1, degraded_versions=0)
    fill_bank(photos, weights, tmp_path / "small", options)
    add_features(tmp_path / "small", "colour", mean_colour)
    bank = read_bank(tmp_path / "small", "colour")

    assert bank.photograph[bank.is_photograph].tolist() == [0, 2]
    assert bank.degraded.shape == (17, 0, 3)
