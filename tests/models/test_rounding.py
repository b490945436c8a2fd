"""Galleries that ship keep few bits of each number, and their archive leaves the rest out."""

import zlib

import numpy as np
import pytest
from click.testing import CliRunner

from lineup.gallery.opening import shipped_gallery, shipped_others
from lineup.gallery.tensors import gallery_from_file, write_gallery
from lineup_models.rounding import gallery_rounded, main, rounded


def test_a_number_is_off_by_at_most_one_part_in_128():
    rows = np.random.default_rng(0).normal(size=(9, 500)).astype(np.float16)
    rows[0, :4] = (0.0, -0.0, 1.999, -65504 / 4)  # a carry runs into the exponent
    near = rounded(rows)
    wide, again = rows.astype(np.float64), near.astype(np.float64)
    assert near.dtype == np.float16
    assert near.shape == rows.shape
    assert (np.abs(again - wide) <= np.abs(wide) * 2.0**-7).all()
    assert np.abs(again - wide).max() > 0
    assert not (near.view(np.uint16) & 0b1111).any()
    np.testing.assert_array_equal(rounded(near), near)


def test_a_row_keeps_its_direction():
    rows = np.random.default_rng(0).normal(size=(4, 5016)).astype(np.float16)
    wide, near = (x.astype(np.float64) for x in (rows, rounded(rows)))
    cosines = (wide * near).sum(1) / np.linalg.norm(wide, axis=1) / np.linalg.norm(near, axis=1)
    assert (1 - cosines < 1e-5).all()


@pytest.mark.parametrize("shipped", [shipped_gallery, shipped_others])
def test_what_ships_is_rounded_and_a_fifth_smaller_in_an_archive(shipped):
    gallery = shipped()
    support = gallery.candidates[0]
    for key, rows in support.views.items():
        np.testing.assert_array_equal(rounded(rows), rows, err_msg=key)
    data = support.views["jpeg:70/fingerprints"].tobytes()
    assert len(zlib.compress(data)) < 0.8 * len(data)


def test_rounding_a_file_again_changes_nothing(tmp_path):
    files = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    for file in files:
        write_gallery(file, shipped_others(), sources=["lcm2"])
    result = CliRunner().invoke(main, [str(file) for file in files])
    assert result.exit_code == 0, result.output
    assert files[0].read_bytes() == files[1].read_bytes()
    (support,) = gallery_rounded(gallery_from_file(files[0])).candidates
    np.testing.assert_array_equal(
        support.fingerprints, shipped_others().source("lcm2").fingerprints
    )
    assert support.names == shipped_others().source("lcm2").names
