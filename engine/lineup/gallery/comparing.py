"""How well images fit each candidate's support, channel by channel, as z-scores.

    fingerprint   mean cosine with the support's fingerprints, times the square root of the query's
                  strength: a cosine alone is worth more of an image that deviates more
    reference     mean cosine with the three nearest of the support's embeddings, all whitened by
                  photographs: the few directions in which these differ most are what is pictured

Both are compared with images of the same channel that the source did not make: photographs where
the gallery has some, else the other candidates' images. What is left is the number of standard
deviations by which a query fits better than those (score normalisation of speaker verification).
Where both are there, one channel has to serve both: that of the largest z_f + 2 z_r.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lineup.channels import CLEAN, DRAWN
from lineup.errors import GalleryError
from lineup.gallery.gallery import STRENGTHS, Gallery, SupportSet, view_key
from lineup.types import AnyArray, Float32Array, Float64Array

REFERENCE_WEIGHT = 2.0
"""Of the reference's z-score beside the fingerprint's."""

WHITENED_AXES = 16
"""Principal axes of photographs' embeddings that are whitened."""

FLOOR = 3.0
"""Variance that is left alone, in medians of the variances of all axes."""

NEIGHBOURS = 3
"""Embeddings of a support that an embedding is compared with: those nearest to it."""

PRIOR_DEVIATION = 0.03
"""Standard deviation of an unrelated image's cosine where the gallery has no others to tell."""

PRIOR_IMAGES = 5.0
"""How many images the prior deviation counts for."""


@dataclass(frozen=True, slots=True, eq=False)
class Whitening:
    """Takes from embeddings what photographs differ in.

    Attributes:
        mean: Shape (E,).
        axes: Orthonormal, (K, E).
        gains: What is taken of each axis, (K,), 0..1.
    """

    mean: Float32Array
    axes: Float32Array
    gains: Float32Array

    def __call__(self, embeddings: Float32Array) -> Float32Array:
        """Return whitened embeddings, (n, E), rows of length 1."""
        rows = embeddings - self.mean
        rows -= _products(_products(rows, self.axes) * self.gains, self.axes.T)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def whitening_from_photographs(embeddings: Float32Array) -> Whitening:
    """Fit a whitening.

    Args:
        embeddings: Shape (n, E); with so few that they do not show axes, all stays as it is.
    """
    count, dimension = embeddings.shape
    if count < 2 * WHITENED_AXES:
        nothing = np.zeros((0, dimension), np.float32)
        return Whitening(np.zeros(dimension, np.float32), nothing, np.zeros(0, np.float32))
    mean = embeddings.mean(axis=0)
    variances, axes = _principal_axes((embeddings - mean).astype(np.float64))
    floor = FLOOR * np.median(variances)
    gains = 1 - np.sqrt(floor / (variances[:WHITENED_AXES] + floor))
    return Whitening(mean, axes.astype(np.float32), gains.astype(np.float32))


def _principal_axes(rows: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return all variances of centred rows (n, E), falling, and the first axes: (r,), (K, E).

    The axes are orthonormal, K is `WHITENED_AXES`. By the smaller of the two products, which takes
    a quarter of the time of all singular vectors.
    """
    count, dimension = rows.shape
    is_wide = count < dimension
    products = rows @ rows.T if is_wide else rows.T @ rows
    variances, vectors = np.linalg.eigh(products / count)
    axes = vectors[:, : -WHITENED_AXES - 1 : -1].T
    if is_wide:
        axes = axes @ rows
        axes /= np.maximum(np.linalg.norm(axes, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return variances[::-1], axes


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Some images as the models see them.

    Attributes:
        fingerprints: Shape (n, D), float32, rows of length 1.
        strengths: Shape (n,), float32.
        embeddings: Shape (n, E), float32, rows of length 1; None where there are none.
    """

    fingerprints: Float32Array
    strengths: Float32Array
    embeddings: Float32Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Fits:
    """How well images fit each candidate, in the channel in which they fit it best.

    Attributes:
        z: Z-score per evidence, (n, candidates, evidences).
        together: Their weighed sum, (n, candidates).
        channels: Index of the channel in `Comparison.channels`, (n, candidates).
    """

    z: Float64Array
    together: Float64Array
    channels: npt.NDArray[np.intp]


class Comparison:
    """Compares images with the candidates of one gallery.

    Args:
        gallery: The known sources.
        embeddings: Key of the embeddings to compare (`ReferenceEncoder.key`); None compares
            fingerprints alone.

    Attributes:
        candidates: In the column order of every array returned here: all of the gallery's, or
            those with embeddings.
        strangers: Photographs.
        channels: All that any of the candidates is known in.

    Raises:
        GalleryError: The gallery holds numbers that are not finite.
    """

    def __init__(self, gallery: Gallery, embeddings: str | None = None) -> None:
        self._embeddings = embeddings
        self.candidates, self.strangers = (
            tuple(one for one in supports if embeddings is None or one.has_embeddings(embeddings))
            for supports in (gallery.candidates, gallery.reals)
        )
        everybody = (*self.candidates, *self.strangers)
        places = [
            (column, channel)
            for column, support in enumerate(self.candidates)
            for channel in support.channels
            if channel != DRAWN
        ]
        self.channels = tuple(dict.fromkeys(channel for _, channel in places))
        self._seen: dict[tuple[str, str], Images] = {}
        strengths = [self.seen(one, CLEAN).strengths for one in everybody]
        self._typical = float(np.median(np.concatenate(strengths))) if strengths else 1.0
        # One row of each array below per place: a source in a channel.
        self._sources = [column for column, _ in places]
        self._columns = [self.channels.index(channel) for _, channel in places]
        self._supports = [self.seen(self.candidates[at], channel) for at, channel in places]
        self._means = np.array([one.fingerprints.mean(axis=0) for one in self._supports])
        self._starts = np.cumsum([0, *(len(one.strengths) for one in self._supports[:-1])])
        if embeddings is not None and places:
            camera = [
                self.seen(one, channel)
                for one in self.strangers
                for channel in one.channels
                if channel != DRAWN
            ]
            supports = _embedded(self._supports)
            self._whiten = whitening_from_photographs(_embedded(camera, supports.shape[1]))
            self._supports_embedded = self._whiten(supports)
        # (places, evidences, mean and deviation)
        self._nulls = np.array([self._null(row, *place) for row, place in enumerate(places)])
        if not np.isfinite(self._nulls).all():
            raise GalleryError(
                "the gallery holds numbers that are not finite",
                hint="Enrol its images again, or leave it out.",
            )

    def release(self) -> None:
        """Drop the supports: what is left compares queries, but no longer the gallery's images."""
        self._seen.clear()
        self._supports.clear()

    def seen(self, support: SupportSet, channel: str) -> Images:
        """Return a support as it is after a channel."""
        place = support.name, channel
        if place not in self._seen:
            self._seen[place] = _images_from_support(support, channel, self._embeddings)
        return self._seen[place]

    def nearness(self, image: Images, support: SupportSet, channel: str) -> Float32Array:
        """Return the cosine of one image with each of a support's images after a channel, (N,).

        Of embeddings, where this compares them.
        """
        seen = _images_from_support(support, channel, self._embeddings)
        if image.embeddings is None or seen.embeddings is None:
            cosines = _products(image.fingerprints, seen.fingerprints)
        else:
            cosines = _products(self._whiten(image.embeddings), self._whiten(seen.embeddings))
        return np.asarray(cosines[0])

    def asking(self, support: SupportSet) -> Images:
        """Return a support's images as queries come: drawn, where it was enrolled so."""
        return self.seen(support, DRAWN if DRAWN in support.channels else CLEAN)

    def fits(self, images: Images, own: int | None = None) -> Fits:
        """Return how well images fit each candidate.

        Args:
            images: With embeddings, if this compares them.
            own: The candidate whose support the images are, in its order: an image is not compared
                with itself.
        """
        mine = [row for row, source in enumerate(self._sources) if source == own]
        scores = [self._fingerprint_scores(images, self._means, mine)]
        if self._embeddings is not None:
            scores.append(self._reference_scores(images, mine))
        shape = (len(images.strengths), len(self.candidates), len(self.channels), len(scores))
        z = np.full(shape, -np.inf)  # where a channel is not known
        raw = np.stack(scores, axis=2)
        z[:, self._sources, self._columns] = (raw - self._nulls[..., 0]) / self._nulls[..., 1]
        together = z @ np.array([1.0, REFERENCE_WEIGHT][: len(scores)])
        best = together.argmax(axis=2)
        return Fits(
            np.take_along_axis(z, best[:, :, None, None], axis=2)[:, :, 0], together.max(2), best
        )

    def _fingerprint_scores(
        self, images: Images, means: Float32Array, own: Sequence[int] = ()
    ) -> Float64Array:
        """Return weighted mean cosines with supports, by their means (places, D): (n, places)."""
        values = _products(images.fingerprints, means).astype(np.float64)
        count = len(images.strengths)
        for row in own:
            support = self._supports[row].fingerprints
            itself = np.einsum("nd,nd->n", images.fingerprints, support)
            values[:, row] = (count * values[:, row] - itself) / max(1, count - 1)
        weights: Float64Array = np.sqrt(images.strengths.astype(np.float64) / self._typical)
        return values * weights[:, None]

    def _reference_scores(self, images: Images, own: Sequence[int] = ()) -> Float64Array:
        """Return each image's mean cosine with the nearest of every place, (n, places)."""
        assert images.embeddings is not None
        cosines = _products(self._whiten(images.embeddings), self._supports_embedded)
        places = np.split(cosines, self._starts[1:], axis=1)
        scores = [_mean_of_nearest(one, is_own=row in own) for row, one in enumerate(places)]
        return np.stack(scores, axis=1)

    def _null(self, row: int, column: int, channel: str) -> list[tuple[float, float]]:
        """Return mean and deviation, per evidence, of images that a place's source did not make."""
        others = [one for at, one in enumerate(self.candidates) if at != column]
        judges = self.strangers or others
        images = [self.seen(one, channel) for one in judges if channel in one.channels]
        # Who went through no such channel judges as it is: far better than nobody.
        images = images or [self.seen(one, CLEAN) for one in judges]
        mean = self._means[row : row + 1]
        nulls = [_spread([self._fingerprint_scores(one, mean)[:, 0] for one in images])]
        if self._embeddings is not None:
            end = int(self._starts[row]) + len(self._supports[row].strengths)
            own = self._supports_embedded[self._starts[row] : end]
            seen = self._whiten(_embedded(images, own.shape[1]))
            nulls.append(_spread([_mean_of_nearest(seen @ own.T)]))
        return nulls


def _images_from_support(support: SupportSet, channel: str, embeddings: str | None) -> Images:
    strengths = support.views.get(view_key(channel, STRENGTHS))
    return Images(
        support.seen_through(channel),
        np.ones(len(support), np.float32) if strengths is None else strengths.astype(np.float32),
        None
        if embeddings is None
        else support.views[view_key(channel, embeddings)].astype(np.float32),
    )


def _mean_of_nearest(cosines: Float32Array, *, is_own: bool = False) -> Float64Array:
    """Return the mean of each row's `NEIGHBOURS` largest, (n,).

    Args:
        cosines: Of n images with a support's, (n, N).
        is_own: Whether the images are the support's, in its order: none is compared with itself.
    """
    count = cosines.shape[1]
    if is_own:
        np.fill_diagonal(cosines, -1.0)
        count = max(1, count - 1)
    nearest = min(NEIGHBOURS, count)
    largest = np.partition(cosines, -nearest, axis=1)[:, -nearest:]
    return np.asarray(largest.mean(axis=1, dtype=np.float64))


def _embedded(images: Sequence[Images], dimension: int = 0) -> Float32Array:
    """Return all embeddings there are, (n, E); E is the dimension where there are none."""
    found = [one.embeddings for one in images if one.embeddings is not None]
    return np.concatenate(found) if found else np.empty((0, dimension), np.float32)


def _products(rows: Float32Array, columns: Float32Array) -> Float32Array:
    """Return the products of all pairs of rows, (n, m).

    Of a single row without BLAS: its threads would wait for each other on cores that decode the
    next images.
    """
    if len(rows) == 1:
        return np.asarray(np.einsum("nd,md->nm", rows, columns))
    return np.asarray(rows @ columns.T)


def _spread(scores: Sequence[AnyArray]) -> tuple[float, float]:
    """Return mean and deviation, shrunk so that a few values do not pass for a distribution."""
    values = np.concatenate([*scores, np.empty(0)]).astype(np.float64)
    count = len(values) + PRIOR_IMAGES
    mean = float(values.mean()) if len(values) else 0.0
    squares = float(np.square(values - mean).sum()) + PRIOR_IMAGES * PRIOR_DEVIATION**2
    return mean, math.sqrt(squares / count)
