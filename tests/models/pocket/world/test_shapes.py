from __future__ import annotations

import numpy as np
import pytest

from lineup.types import Float32Array
from lineup_models.pocket.world.grammar import Kind
from lineup_models.pocket.world.objects import SHAPES
from lineup_models.pocket.world.planes import frame_from_size, grid_at
from lineup_models.pocket.world.solids import Paint, box, circle, convex, star, stroke, union

FRAME = frame_from_size(256)
GRID = grid_at(FRAME, (0.5, 0.8), 0.6, 0.0, flip=False)


def area(distance: Float32Array) -> float:
    return float((distance < 0).sum() / GRID.unit_px**2)


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        (circle(GRID, (0, 0.5), 0.4), np.pi * 0.16),
        (box(GRID, (0, 0.5), (0.3, 0.2)), 0.24),
        (convex(GRID, [(-0.4, 0), (0.4, 0), (0, 0.8)]), 0.32),
        (stroke(GRID, (0, 0.2), (0, 0.8), 0.1), 0.12 + np.pi * 0.01),
        (union(circle(GRID, (-0.3, 0.5), 0.2), circle(GRID, (0.3, 0.5), 0.2)), np.pi * 0.08),
    ],
)
def test_areas(distance: Float32Array, expected: float) -> None:
    assert area(distance) == pytest.approx(expected, rel=0.03)


def test_a_star_has_five_points() -> None:
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    column = np.rint(0.45 * np.sin(angles) * GRID.unit_px - GRID.left + 128).astype(int)
    row = np.rint(204.8 - (0.5 + 0.45 * np.cos(angles)) * GRID.unit_px - GRID.top).astype(int)

    inside = star(GRID, (0, 0.5), 0.5, 0.45)[row, column] < 0

    assert int(np.count_nonzero(inside & ~np.roll(inside, 1))) == 5


@pytest.mark.parametrize("kind", list(Kind))
def test_every_shape_is_seen_whole_and_mostly_in_its_colour(kind: Kind) -> None:
    for seed in range(4):
        parts = SHAPES[kind](GRID, np.random.default_rng(seed))
        whole = np.min([part.distance for part in parts], axis=0)
        body = np.min([p.distance for p in parts if p.paint is Paint.BODY], axis=0)
        edge = np.concatenate([whole[0], whole[-1], whole[:, 0], whole[:, -1]])

        assert all(part.distance.dtype == np.float32 for part in parts)
        assert edge.min() > 0
        assert area(whole) > 0.15
        assert area(body) > 0.1


def test_a_flipped_grid_mirrors() -> None:
    flipped = grid_at(FRAME, (0.5, 0.8), 0.6, 0.0, flip=True)

    np.testing.assert_allclose(flipped.x, -GRID.x)
    np.testing.assert_allclose(flipped.y, GRID.y)
