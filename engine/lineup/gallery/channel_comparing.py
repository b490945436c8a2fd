"""How well images fit the generators that are known in one channel.

    fingerprint   mean cosine with the support's fingerprints, times the square root of the query's
                  strength: a cosine alone is worth more of an image that deviates more. Of each
                  part of the fingerprint (spectrum, texture); beside embeddings the spectrum alone,
                  to which texture adds nothing there (docs/evidence.md)
    nearest       mean cosine with the three nearest of the support's embeddings, all whitened by
                  photographs: the few directions in which these differ most are what is pictured
    discriminant  how far its embedding, or else its fingerprint, lies on the source's side
                  (`lineup.gallery.discriminant`)

A fit leaves images out, so that none is compared with itself; what is kept of it scores queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lineup.errors import GalleryError
from lineup.gallery.discriminant import Discriminant
from lineup.gallery.whitening import products
from lineup.types import AnyArray, Float32Array, Float64Array

NEIGHBOURS = 3
"""Embeddings of a support that an embedding is compared with: those nearest to it."""

PRIOR_DEVIATION = 0.03
"""Standard deviation of an unrelated image's score where the gallery has no others to tell."""

PRIOR_IMAGES = 5.0
"""How many images the prior deviation counts for."""

SHORTEST = 1e-12
"""A part of a fingerprint that is shorter has no direction."""


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
class ChannelComparison:
    """Compares images with the generators that are known in one channel.

    Attributes:
        generators: How many there are, known in this channel or not.
        parts: What compares each part of a fingerprint.
        embedded: Embeddings of each that is known here, whitened; none where none are compared.
        discriminant: Tells those that are known here.
        others: Mean and deviation of the scores that images which they did not make have with
            them, (2, known, kinds).
    """

    generators: int
    parts: Sequence[PartComparison]
    embedded: Sequence[Float32Array]
    discriminant: Discriminant
    others: Float64Array

    def arrays(self) -> dict[str, AnyArray]:
        """Return what a gallery cannot tell without a fit, by name."""
        means = {f"means-{number}": part.means for number, part in enumerate(self.parts)}
        slopes, bias = self.discriminant.slopes, self.discriminant.bias
        return {**means, "slopes": slopes, "bias": bias, "others": self.others}

    def z(self, images: Images, own: int | None = None) -> Float64Array:
        """Return z-scores, (n, generators, kinds); minus infinity where one is not known.

        See `scores` for the arguments.
        """
        raw = self.scores(images, own)
        mean, deviation = self.others
        z = np.full((len(raw), self.generators, raw.shape[2]), -np.inf)
        z[:, list(self.discriminant.sources)] = (raw - mean) / deviation
        return z

    def scores(self, images: Images, own: int | None = None) -> Float64Array:
        """Return scores of every kind with each generator that is known, (n, known, kinds).

        Args:
            images: Some, whitened.
            own: The source whose images these are, in its order: none is compared with itself.
        """
        sources = self.discriminant.sources
        column = sources.index(own) if own in sources else None
        scores = [part.scores(images, column) for part in self.parts]
        rows = images.fingerprints
        if self.embedded:
            assert images.embeddings is not None
            rows = images.embeddings
            scores.append(self._nearest_scores(rows, column))
        scores.append(self.discriminant.scores(rows, own).astype(np.float64))
        return np.stack(scores, axis=2)

    def _nearest_scores(self, embeddings: Float32Array, column: int | None) -> Float64Array:
        """Return each image's mean cosine with the nearest of every support, (n, known)."""
        scores = [
            _mean_of_nearest(products(embeddings, one), is_own=at == column)
            for at, one in enumerate(self.embedded)
        ]
        return np.stack(scores, axis=1)


def fitted_channel(
    known: Mapping[int, Images],
    clean: Sequence[Images],
    generators: int,
    typical: float,
    parts: Sequence[slice],
) -> ChannelComparison:
    """Fit what compares images with the generators that are known in one channel.

    Args:
        known: Images after this channel, whitened, by the number of their source.
        clean: The same as they are, of every source.
        generators: How many sources are no photographs: the first ones.
        typical: Strength of a typical image.
        parts: Those of a fingerprint that are compared, each by itself.

    Raises:
        GalleryError: The gallery holds numbers that are not finite.
    """
    columns = [number for number in known if number < generators]
    embeddings = {at: one.embeddings for at, one in known.items() if one.embeddings is not None}
    members = embeddings or {at: one.fingerprints for at, one in known.items()}
    scored = ChannelComparison(
        generators,
        [_fitted_part([known[at] for at in columns], part, typical) for part in parts],
        [embeddings[number] for number in columns if embeddings],
        Discriminant.fitted(members, columns),
        np.empty(0),
    )
    everybody = range(len(clean))
    judges = [at for at in everybody if at >= generators] or list(everybody)
    # Who went through no such channel judges as it is: far better than nobody.
    judges = [at for at in judges if at in known] or judges
    judged = {at: scored.scores(known.get(at, clean[at]), own=at) for at in judges}
    nulls = [
        _spread([scores[:, column] for at, scores in judged.items() if at != number])
        for column, number in enumerate(columns)
    ]
    if not np.isfinite(nulls).all():
        raise GalleryError(
            "the gallery holds numbers that are not finite",
            hint="Enrol its images again, or leave it out.",
        )
    return replace(scored, others=np.array(nulls).swapaxes(0, 1))


@dataclass(frozen=True, slots=True, eq=False)
class PartComparison:
    """Compares one part of fingerprints with the supports of some generators.

    Attributes:
        part: Which of a fingerprint's numbers.
        typical: Strength of a typical image.
        means: Mean of each support, (known, part).
        supports: What leaving images out takes, (n, part) each; empty where only queries are
            scored.
    """

    part: slice
    typical: float
    means: Float32Array
    supports: Sequence[Float32Array] = ()

    def scores(self, images: Images, column: int | None) -> Float64Array:
        """Return weighted mean cosines with supports, (n, known).

        Args:
            images: Some.
            column: The generator whose images these are: none is compared with itself.
        """
        rows, lengths = part_of_fingerprints(images.fingerprints, self.part)
        values = products(rows, self.means).astype(np.float64)
        if column is not None:
            count = len(rows)
            itself = np.einsum("nd,nd->n", rows, self.supports[column])
            values[:, column] = (count * values[:, column] - itself) / max(1, count - 1)
        strengths = images.strengths.astype(np.float64) * lengths
        return np.asarray(values * np.sqrt(strengths / self.typical)[:, None])


def _fitted_part(supports: Sequence[Images], part: slice, typical: float) -> PartComparison:
    rows = [part_of_fingerprints(one.fingerprints, part)[0] for one in supports]
    return PartComparison(part, typical, np.array([one.mean(axis=0) for one in rows]), rows)


def part_of_fingerprints(
    fingerprints: Float32Array, part: slice
) -> tuple[Float32Array, Float32Array]:
    """Return the part of each fingerprint with length 1, (n, part), and its length, (n,)."""
    rows = fingerprints[:, part]
    lengths = np.linalg.norm(rows, axis=1)
    return rows / np.maximum(lengths, SHORTEST)[:, None], lengths


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


def _spread(scores: Sequence[Float64Array]) -> tuple[Float64Array, Float64Array]:
    """Return mean and deviation of each kind of score, (n, kinds) each.

    Shrunk so that a few values do not pass for a distribution; no scores at all have the mean 0.
    """
    values = np.concatenate(scores) if scores else np.zeros((0, 1))
    count = len(values) + PRIOR_IMAGES
    mean = values.sum(axis=0) / max(1, len(values))
    squares = np.square(values - mean).sum(axis=0) + PRIOR_IMAGES * PRIOR_DEVIATION**2
    return mean, np.sqrt(squares / count)
