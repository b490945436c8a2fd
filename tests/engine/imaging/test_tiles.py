from __future__ import annotations

import itertools

import numpy as np
import pytest

from lineup.imaging.tiles import TileSpec, tile_origins, tiles_from_image


@pytest.mark.parametrize(
    ("height", "width", "max_tiles", "expected"),
    [
        (4, 4, 9, ((0, 0),)),
        (5, 4, 9, ((0, 0),)),
        (7, 4, 9, ((0, 0), (3, 0))),
        (9, 11, 9, ((0, 0), (0, 4), (0, 7), (5, 0), (5, 4), (5, 7))),
        (9, 11, 4, ((0, 0), (0, 7), (5, 0), (5, 7))),
        (4, 40, 1, ((0, 18),)),
        (4, 40, 4, ((0, 0), (0, 12), (0, 24), (0, 36))),
        (8, 8, 3, ((2, 0), (2, 4))),
    ],
)
def test_layout(height, width, max_tiles, expected):
    assert tile_origins(height, width, TileSpec(4, max_tiles)) == expected


@pytest.mark.parametrize("max_tiles", [1, 2, 9, 16, 1000])
@pytest.mark.parametrize(("height", "width"), [(256, 256), (1000, 300), (3000, 4000), (511, 6000)])
def test_tiles_lie_inside_reach_the_edges_and_share_less_than_half(height, width, max_tiles):
    origins = tile_origins(height, width, TileSpec(256, max_tiles))

    assert 1 <= len(origins) <= max_tiles
    for length, starts in ((height, {row for row, _ in origins}), (width, {c for _, c in origins})):
        ordered = sorted(starts)
        assert ordered[0] >= 0
        assert ordered[-1] <= length - 256
        if len(ordered) > 1:
            assert (ordered[0], ordered[-1]) == (0, length - 256)
        assert all(later - sooner > 128 for sooner, later in itertools.pairwise(ordered))


def test_a_panorama_keeps_its_tiles_along_its_length():
    origins = tile_origins(300, 25_600, TileSpec(256, 10))

    assert len({column for _, column in origins}) == 10


def test_the_common_size_of_generators_is_covered_exactly():
    starts = (0, 256, 512, 768)

    assert tile_origins(1024, 1024, TileSpec(256, 16)) == tuple(
        (row, column) for row in starts for column in starts
    )


def test_tiles_are_the_pixels_of_the_image(photo):
    tiles = tiles_from_image(photo, TileSpec(32, 4))
    assert tiles.shape == (4, 32, 32, 3)
    assert tiles.dtype == np.uint8
    for tile, (row, column) in zip(tiles, tile_origins(90, 120, TileSpec(32, 4)), strict=True):
        assert (tile == photo[row : row + 32, column : column + 32]).all()


def test_a_small_image_is_reflected_around_its_middle(photo):
    small = photo[:30, :40]
    (tile,) = tiles_from_image(small, TileSpec(64, 9))
    expected = np.pad(small, ((17, 17), (12, 12), (0, 0)), mode="reflect")
    assert (tile == expected).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (2, 3), (5, 300)])
def test_tiny_images_are_reflected_as_often_as_needed(photo, shape):
    source = np.resize(photo, (*shape, 3))
    tiles = tiles_from_image(source, TileSpec(64, 9))
    assert tiles.shape[1:] == (64, 64, 3)
    assert set(np.unique(tiles)) <= set(np.unique(source))


def test_one_short_side(photo):
    tiles = tiles_from_image(np.tile(photo, (1, 3, 1)), TileSpec(100, 9))
    assert tiles.shape == (4, 100, 100, 3)


@pytest.mark.parametrize(("size_px", "max_tiles"), [(0, 1), (256, 0)])
def test_nonsense_is_refused(size_px, max_tiles):
    with pytest.raises(ValueError, match="expected at least 1"):
        TileSpec(size_px, max_tiles)
