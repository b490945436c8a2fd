from __future__ import annotations

import numpy as np
import pytest

from lineup.gallery.channel_comparing import Images
from lineup.gallery.comparing import Comparison
from lineup.gallery.gallery import Gallery
from lineup.gallery.support import SourceRole, SupportSet

DIMENSION = 64


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def compared(cosines):
    """Return a gallery of one source whose images have such cosines with (1, 0), and its scores."""
    angles = np.arccos(cosines)
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    same = np.tile(np.array([[1.0, 0.0]], np.float32), (len(rows), 1))
    views = {"clean/embeddings-x": rows.astype(np.float16)}
    ids = tuple(f"{number:064x}" for number in range(len(rows)))
    source = SupportSet("a", SourceRole.CANDIDATE, same, ids, "", views)
    return Comparison(Gallery("digest", {"a": source}), "embeddings-x"), source


def images_of(source):
    """Return a source's images as they are."""
    rows = source.views["clean/embeddings-x"].astype(np.float32)
    return Images(source.fingerprints, np.ones(len(source), np.float32), rows)


def z_score(cosines, nearest):
    """Return by how much a query scores higher than its nearest cosines' mean would, which is 0."""
    comparison, _ = compared(cosines)
    query = np.array([[1.0, 0.0]], np.float32)
    z = comparison.fits(Images(query, np.ones(1, np.float32), query)).together[0, 0]
    lone, _ = compared([nearest])
    return z - lone.fits(Images(query, np.ones(1, np.float32), query)).together[0, 0]


@pytest.mark.parametrize(
    ("cosines", "nearest"),
    [
        ([0.9, 0.1, 0.8, 0.7, -0.5], 0.8),  # the three nearest of five
        ([0.9, 0.5], 0.7),  # of two, both
    ],
)
def test_embeddings_are_compared_with_the_three_nearest(cosines, nearest):
    assert z_score(cosines, nearest) == pytest.approx(0, abs=0.1)


def test_an_image_of_the_support_is_not_among_its_own_nearest():
    comparison, source = compared([1.0, 0.6, 0.2])
    alone = comparison.own_fits[0].together[0, 0]
    with_itself = comparison.fits(images_of(source)).together[0, 0]
    step = (1 + 0.6 + 0.2) / 3 - (0.6 + 0.2) / 2
    deviation = 0.03  # where the gallery has no others to tell
    assert with_itself - alone == pytest.approx(step / deviation, rel=0.01)


def test_photographs_that_went_through_no_channel_judge_as_they_are():
    """With nobody to judge by, what is like a photograph would be like the source, by far."""
    draw = np.random.default_rng(0)

    def support(name, role, *channels):
        rows = unit(1 + draw.normal(size=(30, DIMENSION)))
        ids = tuple(f"{number:064x}" for number in range(len(rows)))
        views = {
            f"{channel}/{what}": rows.astype(np.float16)
            for channel in channels
            for what in ("fingerprints", "embeddings-x")
            if (channel, what) != ("clean", "fingerprints")
        }
        return SupportSet(name, role, rows, ids, "", views)

    photographs = support("real", SourceRole.REAL, "clean")
    source = support("a", SourceRole.CANDIDATE, "clean", "jpeg:70")
    comparison = Comparison(Gallery("digest", {"a": source, "real": photographs}), "embeddings-x")

    together = comparison.fits(images_of(photographs)).together

    assert np.median(together) < 3


def test_photographs_that_were_fitted_on_do_not_judge_by_heart():
    """A fit knows its own photographs; by what it says of them, others would stand far above."""
    draw = np.random.default_rng(3)

    def support(name, role, count):
        rows = unit(draw.normal(size=(count, DIMENSION)))
        ids = tuple(f"{number:064x}" for number in range(count))
        views = {"clean/embeddings-x": rows.astype(np.float16)}
        return SupportSet(name, role, rows, ids, "", views)

    sources = [support("a", SourceRole.CANDIDATE, 20), support("real", SourceRole.REAL, 40)]
    comparison = Comparison(Gallery("digest", {one.name: one for one in sources}), "embeddings-x")
    others = comparison.fits(images_of(support("others", SourceRole.REAL, 400))).z[:, 0]
    own = comparison.own_fits[1].z[:, 0]

    np.testing.assert_allclose(others.std(axis=0), own.std(axis=0), rtol=0.4)
    np.testing.assert_allclose(others.std(axis=0), 1, rtol=0.4)
