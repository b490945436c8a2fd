from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from lineup.errors import UsageError
from lineup_lab.dataset import SourceFolder
from lineup_lab.spectra import (
    mean_spectra,
    relative_spectra,
    residual_from_grey,
    spectrum_from_tiles,
)


def residual_by_definition(grey: np.ndarray) -> np.ndarray:
    padded = np.pad(grey, 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
    mean, variance = windows.mean(axis=(2, 3)), windows.var(axis=(2, 3))
    return (grey - mean) * 100 / (variance + 100)


def test_residual_follows_from_the_definition():
    grey = np.random.default_rng(0).integers(0, 256, (40, 30)).astype(float)

    np.testing.assert_allclose(residual_from_grey(grey), residual_by_definition(grey), atol=1e-9)


def test_residual_equals_that_of_the_trained_definition():
    torch = pytest.importorskip("torch", reason="the reference is the torch definition")
    from lineup_models.fingerprint.residual import WienerResidual
    from lineup_models.fingerprint.spec import SpectrumSpec

    grey = np.random.default_rng(1).integers(0, 256, (256, 256)).astype(float)
    reference = WienerResidual(SpectrumSpec())(torch.from_numpy(grey)[None, None])

    np.testing.assert_allclose(residual_from_grey(grey), reference[0, 0].numpy(), atol=1e-9)


def test_a_flat_image_has_no_residual():
    assert np.abs(residual_from_grey(np.full((20, 20), 77.0))).max() < 1e-9


def test_a_periodic_pattern_is_a_peak_at_its_frequency():
    columns = np.arange(256)
    pattern = 128 + 4 * np.cos(2 * np.pi * columns * 64 / 256)
    tile = np.broadcast_to(pattern.round().astype(np.uint8)[None, :, None], (256, 256, 3))

    spectrum = spectrum_from_tiles(tile[None])

    assert spectrum.shape == (256, 256)
    peaks = set(zip(*np.unravel_index(np.argsort(spectrum, axis=None)[-2:], (256, 256))))  # noqa: B905
    assert peaks == {(128, 128 - 64), (128, 128 + 64)}


def test_tiles_are_averaged():
    tiles = np.random.default_rng(2).integers(0, 256, (3, 256, 256, 3), dtype=np.uint8)

    apart = [spectrum_from_tiles(tile[None]) for tile in tiles]

    np.testing.assert_allclose(spectrum_from_tiles(tiles), np.mean(apart, axis=0))


@pytest.fixture
def folder(tmp_path: Path) -> SourceFolder:
    rng = np.random.default_rng(3)
    for i in range(6):
        cv2.imwrite(str(tmp_path / f"{i}.png"), rng.integers(0, 256, (256, 256, 3), dtype=np.uint8))
    return SourceFolder("a", tuple(sorted(tmp_path.glob("*.png"))))


def test_mean_is_over_images_in_their_order(folder):
    seen = []

    spectra = mean_spectra([folder], on_file=lambda image: seen.append((image.path, image.error)))

    assert seen == [(path, None) for path in folder.paths]
    tiles = [cv2.cvtColor(cv2.imread(str(p)), cv2.COLOR_BGR2RGB)[None] for p in folder.paths]
    np.testing.assert_allclose(spectra["a"], np.mean([spectrum_from_tiles(t) for t in tiles], 0))


def test_limit_spreads_over_the_folder(folder):
    seen = []

    mean_spectra([folder], limit=2, on_file=lambda image: seen.append(image.path.name))

    assert seen == ["0.png", "3.png"]


def test_unreadable_image_is_told_and_left_out(folder):
    folder.paths[1].write_bytes(b"")
    errors = []

    spectra = mean_spectra([folder], on_file=lambda image: errors.append(image.error is None))

    assert errors == [True, False, True, True, True, True]
    assert np.isfinite(spectra["a"]).all()


def test_source_without_a_readable_image_is_named(folder):
    for path in folder.paths:
        path.write_bytes(b"")

    with pytest.raises(UsageError, match="'a' has no readable image out of 6"):
        mean_spectra([folder])


def test_relative_spectra_leave_the_photographs_out():
    spectra = {
        name: np.full((4, 4), level) for name, level in {"a": 5.0, "p": 1.0, "q": 3.0}.items()
    }

    relative = relative_spectra(spectra, ["p", "q"])

    assert list(relative) == ["a"]
    assert (relative["a"] == 3.0).all()
