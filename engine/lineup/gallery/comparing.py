"""How well images fit each candidate's support, channel by channel, as z-scores.

    fingerprint   mean cosine with the support's fingerprints, times the square root of the query's
                  strength: a cosine alone is worth more of an image that deviates more
    reference     cosine with the nearest of the support's embeddings

Both are compared with images of the same channel that the source did not make: photographs where
the gallery has some, else the other candidates' images. What is left is the number of standard
deviations by which a query fits better than those (score normalisation of speaker verification;
METHODS 10.1, 10.5). Where both are there, one channel has to serve both: z = z_f + 2 z_r
(METHODS 10.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lineup.channels import CLEAN, DRAWN
from lineup.gallery.gallery import STRENGTHS, Gallery, SupportSet, view_key
from lineup.types import Float32Array, Float64Array

REFERENCE_WEIGHT = 2.0
"""Of the reference's z-score beside the fingerprint's."""

PRIOR_DEVIATION = 0.03
"""Standard deviation of an unrelated image's cosine where the gallery has no others to tell."""

PRIOR_IMAGES = 5.0
"""How many images the prior deviation counts for."""


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
class _Template:
    """A source in a channel.

    Attributes:
        source: Column of the source.
        channel: Name of the channel.
        mean: Of its fingerprints, (D,), float32.
        support: What it was made of.
        null: Mean and deviation of the scores of images that it did not make: of the fingerprint,
            and of the reference where there are embeddings.
    """

    source: int
    channel: str
    mean: Float32Array
    support: Images
    null: tuple[tuple[float, float], ...]


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
        asking: The channel in which the gallery's own images stand for queries.
    """

    def __init__(self, gallery: Gallery, embeddings: str | None = None) -> None:
        self._embeddings = embeddings
        self.candidates = tuple(one for one in gallery.candidates if self._has_embeddings(one))
        self.strangers = tuple(one for one in gallery.reals if self._has_embeddings(one))
        everybody = (*self.candidates, *self.strangers)
        drawn = all(DRAWN in one.channels for one in everybody)
        self.asking = DRAWN if everybody and drawn else CLEAN
        found = [one for support in self.candidates for one in support.channels if one != DRAWN]
        self.channels = tuple(dict.fromkeys(found))
        strengths = [self.seen(one, CLEAN).strengths for one in everybody]
        self._typical = float(np.median(np.concatenate(strengths))) if strengths else 1.0
        self._templates = [
            self._template(column, channel)
            for column, support in enumerate(self.candidates)
            for channel in support.channels
            if channel != DRAWN
        ]
        self._means = np.array([one.mean for one in self._templates], np.float32)

    def _has_embeddings(self, support: SupportSet) -> bool:
        key = self._embeddings
        return key is None or all(view_key(one, key) in support.views for one in support.channels)

    def seen(self, support: SupportSet, channel: str) -> Images:
        """Return a support as it is after a channel."""
        ones = np.ones(len(support), np.float32)
        key = self._embeddings
        return Images(
            support.seen_through(channel),
            support.views.get(view_key(channel, STRENGTHS), ones),
            None if key is None else support.views[view_key(channel, key)],
        )

    def z_scores(self, images: Images, own: int | None = None) -> Float64Array:
        """Return how well images fit, (n, candidates, channels); -inf where a channel is not known.

        Args:
            images: With embeddings, if this compares them.
            own: The candidate whose support the images are, in its order, seen through `asking`:
                an image is not compared with itself.
        """
        z = np.full((len(images.strengths), len(self.candidates), len(self.channels)), -np.inf)
        # A single image by itself: a product of matrices may round otherwise than that of a row.
        products = self._means @ images.fingerprints.T
        for template, raw in zip(self._templates, products, strict=True):
            is_own = template.source == own
            at = self.channels.index(template.channel)
            z[:, template.source, at] = self._standardised(template, images, raw, is_own)
        return z

    def _standardised(
        self, template: _Template, images: Images, raw: Float32Array, is_own: bool
    ) -> Float64Array:
        scores = [self._fingerprint_scores(template, images, raw, is_own)]
        if images.embeddings is not None:
            scores.append(_nearest(images, template.support, is_own))
        parts = [
            (one - mean) / deviation
            for one, (mean, deviation) in zip(scores, template.null, strict=True)
        ]
        return parts[0] if len(parts) == 1 else parts[0] + REFERENCE_WEIGHT * parts[1]

    def _fingerprint_scores(
        self, template: _Template, images: Images, raw: Float32Array, is_own: bool
    ) -> Float64Array:
        values = raw.astype(np.float64)
        if is_own:
            count = len(images.strengths)
            itself = np.einsum("nd,nd->n", images.fingerprints, template.support.fingerprints)
            values = (count * values - itself) / max(1, count - 1)
        weights: Float64Array = np.sqrt(images.strengths.astype(np.float64) / self._typical)
        return values * weights

    def _template(self, column: int, channel: str) -> _Template:
        support = self.seen(self.candidates[column], channel)
        mean = support.fingerprints.astype(np.float64).mean(axis=0).astype(np.float32)
        template = _Template(column, channel, mean, support, ())
        others = [one for at, one in enumerate(self.candidates) if at != column]
        judges = [one for one in self.strangers or others if channel in one.channels]
        images = [self.seen(one, channel) for one in judges]
        raw = [one.fingerprints @ mean for one in images]
        scores = [
            [
                self._fingerprint_scores(template, one, products, False)
                for one, products in zip(images, raw, strict=True)
            ]
        ]
        if self._embeddings is not None:
            scores.append([_nearest(one, support, False) for one in images])
        return _Template(column, channel, mean, support, tuple(map(_spread, scores)))


def _nearest(images: Images, support: Images, is_own: bool) -> Float64Array:
    """Return each image's largest cosine with the support's embeddings, (n,)."""
    assert images.embeddings is not None
    assert support.embeddings is not None
    cosines = (images.embeddings @ support.embeddings.T).astype(np.float64)
    if is_own:
        np.fill_diagonal(cosines, -1.0)
    return np.asarray(cosines.max(axis=1))


def _spread(scores: Sequence[Float64Array]) -> tuple[float, float]:
    """Return mean and deviation, shrunk so that a few values do not pass for a distribution."""
    values = np.concatenate([*scores, np.empty(0)])
    count = len(values) + PRIOR_IMAGES
    mean = float(values.mean()) if len(values) else 0.0
    squares = float(np.square(values - mean).sum()) + PRIOR_IMAGES * PRIOR_DEVIATION**2
    return mean, math.sqrt(squares / count)
