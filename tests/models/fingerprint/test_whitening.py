from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from lineup.errors import UsageError
from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.fingerprint.whitening import FitOptions, fit_whitening

SPEC = SpectrumSpec(tile_size_px=16, pool_height=6, pool_width=4, axes=0)


def test_held_out_photographs_are_never_read(photographs: Path) -> None:
    read: list[Path] = []

    def watch(_name: str, paths: tuple[Path, ...]) -> Iterable[Path]:
        read.extend(paths)
        return paths

    fit = fit_whitening(photographs, SPEC, FitOptions(hold_out=4), watch=watch)

    assert len(read) == 9
    assert fit.checkpoint.record["photographs_held_out"] == 4
    assert fit.checkpoint.record["photographs"] + len(fit.skipped) == 9


def test_a_broken_photograph_is_reported_and_left_out(photographs: Path) -> None:
    fit = fit_whitening(photographs, SPEC, FitOptions(hold_out=0))

    assert [path.name for path in fit.skipped] == ["broken.jpg"]
    assert fit.checkpoint.record["photographs"] == 12
    assert fit.checkpoint.whitening.axes.shape == (11, 24)


def test_the_same_photographs_give_the_same_numbers(photographs: Path) -> None:
    options = FitOptions(hold_out=0, jpeg_copies=1)
    first = fit_whitening(photographs, SPEC, options).checkpoint.whitening
    second = fit_whitening(photographs, SPEC, options).checkpoint.whitening

    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.axes, second.axes)
    np.testing.assert_array_equal(first.variances, second.variances)


def test_copies_and_tiles_enter_the_fit(photographs: Path) -> None:
    plain = fit_whitening(photographs, SPEC, FitOptions(hold_out=0)).checkpoint
    copied = fit_whitening(photographs, SPEC, FitOptions(hold_out=0, jpeg_copies=2)).checkpoint
    tiled = fit_whitening(photographs, SPEC, FitOptions(hold_out=0, tiles_per_photo=4)).checkpoint

    assert plain.record["samples"] == 12
    assert copied.record["samples"] == 36
    assert (plain.whitening.mean != copied.whitening.mean).any()
    # The noise of a mean of four tiles is smaller than that of one.
    assert tiled.whitening.variances.sum() < plain.whitening.variances.sum()


def test_photographs_that_all_fail_are_an_error(tmp_path: Path) -> None:
    for index in range(3):
        (tmp_path / f"{index}.jpg").write_text("not an image")

    with pytest.raises(UsageError, match="Only 0 of 3 photographs"):
        fit_whitening(tmp_path, SPEC, FitOptions(hold_out=0))
