from __future__ import annotations

import numpy as np
import pytest

from lineup.errors import UsageError
from lineup_lab.figures import Projection, points_from_fingerprints


@pytest.fixture
def clusters(make_source):
    sources = [make_source(name, 15, direction=i, noise=0.5) for i, name in enumerate("abcd")]
    return np.concatenate([s.fingerprints for s in sources]), np.repeat(np.arange(4), 15)


@pytest.mark.parametrize("projection", Projection)
def test_sources_lie_together(clusters, projection):
    rows, labels = clusters

    points, axes = points_from_fingerprints(rows, labels, projection, seed=0)

    assert points.shape == (60, 2)
    assert len(set(axes)) == 2
    centres = np.stack([points[labels == source].mean(axis=0) for source in range(4)])
    spread = np.mean([points[labels == k].std(axis=0).mean() for k in range(4)])
    assert np.linalg.norm(centres - centres.mean(axis=0), axis=1).mean() > 2 * spread


def test_lda_separates_better_than_pca(make_source):
    # A strong direction that all sources share hides the weak ones that tell them apart.
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 40)
    rows = rng.normal(size=(120, 20)) * 0.3
    rows[:, 0] += rng.normal(size=120) * 5
    rows[:, 1] += rng.normal(size=120) * 5
    rows[np.arange(120), 2 + labels] += 1.5
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    def separation(projection: Projection) -> float:
        points, _ = points_from_fingerprints(rows, labels, projection, seed=0)
        centres = np.stack([points[labels == k].mean(axis=0) for k in range(3)])
        within = np.mean([points[labels == k].var(axis=0).sum() for k in range(3)])
        return float(centres.var(axis=0).sum() / within)

    assert separation(Projection.LDA) > 4 * separation(Projection.PCA)


def test_same_input_same_map(clusters):
    first, again = (points_from_fingerprints(*clusters, Projection.PCA, seed=0)[0] for _ in "ab")

    np.testing.assert_array_equal(first, again)


def test_too_little_for_a_map_is_refused(clusters):
    rows, labels = clusters
    with pytest.raises(UsageError, match="at least 3 images"):
        points_from_fingerprints(rows[:2], labels[:2], Projection.PCA, seed=0)
    with pytest.raises(UsageError, match="2 sources on a line"):
        points_from_fingerprints(rows[:30], labels[:30], Projection.LDA, seed=0)
