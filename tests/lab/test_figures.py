from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lineup.errors import UsageError
from lineup_lab.figures import write_map, write_spectra

pytest.importorskip("matplotlib", reason="figures are drawn with matplotlib")


@pytest.fixture
def spectra():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(32, 32)) for name in ["a", "b", "c", "d", "e_long-name"]}


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


@pytest.mark.parametrize("count", [1, 2, 4, 5])
@pytest.mark.parametrize("relative", [True, False])
def test_spectra_become_a_png_with_a_panel_each(spectra, tmp_path, count, relative):
    chosen = dict(list(spectra.items())[:count])

    write_spectra(tmp_path / "s.png", chosen, relative=relative, smoothing_px=0.5)

    drawn = pixels(tmp_path / "s.png")
    assert drawn.shape[1] > 300 * min(count, 3)
    assert (drawn != 255).any(axis=2).mean() > 0.2


def test_figures_do_not_change_from_run_to_run(spectra, tmp_path):
    for name in ("first", "again"):
        write_spectra(tmp_path / name, spectra, relative=True, smoothing_px=1)

    assert (tmp_path / "first").read_bytes() == (tmp_path / "again").read_bytes()


def test_relative_spectra_are_red_above_the_photographs_and_blue_below(tmp_path):
    halves = np.where(np.arange(32)[:, None] < 16, 1.0, -1.0) * np.ones((32, 32))

    write_spectra(tmp_path / "s.png", {"a": halves}, relative=True, smoothing_px=0)

    drawn = pixels(tmp_path / "s.png")
    middle = drawn[:, : drawn.shape[1] // 2]
    red = np.argwhere((middle[..., 0] - middle[..., 2]) > 60)[:, 0]
    blue = np.argwhere((middle[..., 2] - middle[..., 0]) > 60)[:, 0]
    assert red.max() <= blue.min()


def test_equal_spectra_have_a_scale_too(tmp_path):
    for relative in (True, False):
        write_spectra(
            tmp_path / "s.png", {"a": np.zeros((8, 8))}, relative=relative, smoothing_px=0
        )


def test_map_shows_every_source_in_its_colour(tmp_path):
    rng = np.random.default_rng(1)
    points = np.concatenate([rng.normal(size=(20, 2)) + 6 * np.eye(2)[i % 2] for i in range(3)])
    sources = ["first"] * 20 + ["second"] * 20 + ["photos"] * 20

    write_map(tmp_path / "m.png", points, sources, axis_labels=("x", "y"), real=["photos"])

    drawn = pixels(tmp_path / "m.png").reshape(-1, 3)
    blue, orange = np.array([0, 0x72, 0xB2]), np.array([0xD5, 0x5E, 0])
    for colour in (blue, orange):
        assert (np.abs(drawn - (0.75 * colour + 0.25 * 255)).max(axis=1) < 12).sum() > 100


def test_many_sources_differ_in_colour_or_marker(tmp_path):
    points = np.random.default_rng(2).normal(size=(60, 2))

    write_map(tmp_path / "m.png", points, [f"s{i % 30}" for i in range(60)], axis_labels=("x", "y"))

    assert (tmp_path / "m.png").stat().st_size > 10_000


def test_place_that_cannot_be_written_is_an_error_of_the_tree(spectra, tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(UsageError, match="Cannot write"):
        write_spectra(tmp_path / "file" / "s.png", spectra, relative=False, smoothing_px=0)
