from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from lineup.channels import BANK
from lineup.errors import UsageError
from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.fingerprint.whitening import CROP_PX, FitOptions, fit_whitening, middle

SPEC = SpectrumSpec(tile_size_px=16, pool_height=6, pool_width=4, axes=0)


def test_held_out_photographs_are_never_read(photographs: Path) -> None:
    read: list[Path] = []

    def watch(_name: str, paths: tuple[Path, ...]) -> Iterable[Path]:
        read.extend(paths)
        return paths

    fit = fit_whitening([photographs], SPEC, FitOptions(hold_out=4), watch=watch)

    assert len(read) == 9
    assert fit.checkpoint.record["photographs_held_out"] == 4
    assert fit.checkpoint.record["photographs"] + len(fit.skipped) == 9


def test_a_broken_photograph_is_reported_and_left_out(photographs: Path) -> None:
    fit = fit_whitening([photographs], SPEC, FitOptions(hold_out=0))

    assert [path.name for path in fit.skipped] == ["broken.jpg"]
    assert fit.checkpoint.record["photographs"] == 12
    # Of the spectrum's 24 numbers, and of 60 textures, 12 in 5 channels, less their mean.
    assert fit.checkpoint.whitening.axes.shape == (24 + 59, 24 + 408)


def test_spectrum_and_texture_are_whitened_each_by_itself(photographs: Path) -> None:
    axes = fit_whitening([photographs], SPEC, FitOptions(hold_out=0)).checkpoint.whitening.axes

    spectrum, texture = axes[:24], axes[24:]
    assert not spectrum[:, SPEC.dimension :].any()
    assert not texture[:, : SPEC.dimension].any()
    np.testing.assert_allclose(axes @ axes.T, np.eye(83), atol=1e-5)


def test_the_same_photographs_give_the_same_numbers(photographs: Path) -> None:
    options = FitOptions(hold_out=0)
    first = fit_whitening([photographs], SPEC, options).checkpoint.whitening
    second = fit_whitening([photographs], SPEC, options).checkpoint.whitening

    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.axes, second.axes)
    np.testing.assert_array_equal(first.variances, second.variances)


def test_every_channel_and_tile_enters_the_fit(photographs: Path) -> None:
    several = fit_whitening([photographs], SPEC, FitOptions(hold_out=0)).checkpoint
    single = fit_whitening([photographs], SPEC, FitOptions(hold_out=0, tiles_per_photo=1))

    assert several.record["samples"] == 12 * len(BANK)
    # The noise of a mean of several tiles is smaller than that of one.
    assert several.whitening.variances.sum() < single.checkpoint.whitening.variances.sum()


def test_the_middle_of_a_large_photograph_is_cut_out() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (CROP_PX + 10, 30, 3), np.uint8)

    np.testing.assert_array_equal(middle(pixels), pixels[5:-5])
    np.testing.assert_array_equal(middle(pixels[:40]), pixels[:40])


def test_photographs_that_all_fail_are_an_error(tmp_path: Path) -> None:
    for index in range(3):
        (tmp_path / f"{index}.jpg").write_text("not an image")

    with pytest.raises(UsageError, match="Only 0 of 3 photographs"):
        fit_whitening([tmp_path], SPEC, FitOptions(hold_out=0))
