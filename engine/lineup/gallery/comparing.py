"""How well images fit each generator's support, channel by channel, as z-scores.

    fingerprint   mean cosine with the support's fingerprints, times the square root of the query's
                  strength: a cosine alone is worth more of an image that deviates more. Of each
                  part of the fingerprint (spectrum, texture); beside embeddings the spectrum alone,
                  to which texture adds nothing there (docs/evidence.md)
    nearest       mean cosine with the three nearest of the support's embeddings, all whitened by
                  photographs: the few directions in which these differ most are what is pictured
    discriminant  how far its embedding, or else its fingerprint, lies on the source's side
                  (`lineup.gallery.discriminant`)

All are compared with images of the same channel that the source did not make: photographs where
the gallery has some, else the other generators' images. What is left is the number of standard
deviations by which a query fits better than those (score normalisation of speaker verification).
One channel has to serve all: that of the largest sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lineup.channels import CLEAN, DRAWN
from lineup.errors import GalleryError
from lineup.gallery.discriminant import Discriminant
from lineup.gallery.gallery import STRENGTHS, Gallery, SupportSet, view_key
from lineup.gallery.whitening import products, whitening_from_photographs
from lineup.types import Float32Array, Float64Array

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
class Fits:
    """How well images fit each generator, in the channel in which they fit it best.

    Attributes:
        z: Z-score per kind of score (see the module), (n, known, kinds).
        together: Their sum, (n, known).
        channels: Index of the channel in `Comparison.channels`, (n, known).
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
        parts: Lengths of what a fingerprint is made of; empty: it is one.

    Attributes:
        candidates: All of the gallery's, or those with embeddings.
        known: These, then the gallery's further generators: the columns of every array returned
            here. None where there is no candidate.
        strangers: Photographs.
        kinds: How many kinds of score there are (see the module).
        channels: All that any of the known is known in.
        own_fits: How well the images of all that are known, then of the strangers, fit each of the
            known as queries come: through the drawn channel where they were enrolled so. What is
            compared with them knows nothing of the image (`ChannelComparison.scores`).

    Raises:
        GalleryError: The gallery holds numbers that are not finite.
    """

    def __init__(
        self, gallery: Gallery, embeddings: str | None = None, parts: Sequence[int] = ()
    ) -> None:
        self._embeddings = embeddings
        ends = np.cumsum([0, *parts]).tolist()
        slices = [slice(*ends_of) for ends_of in pairwise(ends)] or [slice(None)]
        self._parts = tuple(slices if embeddings is None else slices[:1])
        self.kinds = len(self._parts) + (1 if embeddings is None else 2)
        self.candidates, others, self.strangers = (
            tuple(one for one in supports if embeddings is None or one.has_embeddings(embeddings))
            for supports in (gallery.candidates, gallery.others, gallery.reals)
        )
        self.known = (*self.candidates, *others) if self.candidates else ()
        everybody = (*self.known, *self.strangers)
        self.channels = _bank_channels(self.known)
        if embeddings is not None and everybody:
            dimension = everybody[0].views[view_key(CLEAN, embeddings)].shape[1]
            camera = [
                one.views[view_key(channel, embeddings)].astype(np.float32)
                for one in self.strangers
                for channel in one.channels
                if channel != DRAWN
            ]
            nothing = np.empty((0, dimension), np.float32)
            self._whiten = whitening_from_photographs(np.concatenate([*camera, nothing]))
        clean = [self._seen(one, CLEAN) for one in everybody]
        strengths = [one.strengths for one in clean]
        typical = float(np.median(np.concatenate(strengths))) if strengths else 1.0
        asking = [self._seen(one, DRAWN) if DRAWN in one.channels else None for one in everybody]
        self._compared: list[ChannelComparison] = []
        z: list[list[Float64Array]] = [[] for _ in everybody]
        for channel in self.channels:
            known = {
                number: clean[number] if channel == CLEAN else self._seen(one, channel)
                for number, one in enumerate(everybody)
                if channel in one.channels
            }
            compared = ChannelComparison(known, clean, len(self.known), typical, self._parts)
            for number, images in enumerate(asking):
                z[number].append(compared.z(images or clean[number], own=number))
            compared.release()
            self._compared.append(compared)
        self.own_fits = [_best(one) for one in z if one]

    def fits(self, images: Images) -> Fits:
        """Return how well images, with embeddings if this compares them, fit each of the known."""
        seen = self._whitened(images)
        return _best([one.z(seen) for one in self._compared])

    def nearness(self, image: Images, support: SupportSet, channel: str) -> Float32Array:
        """Return the cosine of one image with each of a support's images after a channel, (N,).

        Of embeddings, where this compares them.
        """
        own, seen = self._whitened(image), self._seen(support, channel)
        if own.embeddings is None or seen.embeddings is None:
            return np.asarray(products(own.fingerprints, seen.fingerprints)[0])
        return np.asarray(products(own.embeddings, seen.embeddings)[0])

    def _seen(self, support: SupportSet, channel: str) -> Images:
        """Return a support as it is after a channel, its embeddings whitened."""
        key, strengths = self._embeddings, support.views.get(view_key(channel, STRENGTHS))
        images = Images(
            support.seen_through(channel),
            np.ones(len(support), np.float32)
            if strengths is None
            else strengths.astype(np.float32),
            None if key is None else support.views[view_key(channel, key)].astype(np.float32),
        )
        return self._whitened(images)

    def _whitened(self, images: Images) -> Images:
        if self._embeddings is None or images.embeddings is None:
            return images
        return replace(images, embeddings=self._whiten(images.embeddings))


class ChannelComparison:
    """Compares images with the generators that are known in one channel.

    Args:
        known: Images after this channel, whitened, by the number of their source.
        clean: The same as they are, of every source.
        generators: How many sources are no photographs: the first ones.
        typical: Strength of a typical image.
        parts: Those of a fingerprint that are compared, each by itself.

    Raises:
        GalleryError: The gallery holds numbers that are not finite.
    """

    def __init__(
        self,
        known: Mapping[int, Images],
        clean: Sequence[Images],
        generators: int,
        typical: float,
        parts: Sequence[slice],
    ) -> None:
        self._generators = generators
        self._columns = [number for number in known if number < generators]
        self._parts = [
            _PartComparison([known[at] for at in self._columns], part, typical) for part in parts
        ]
        members = {at: one.embeddings for at, one in known.items() if one.embeddings is not None}
        self._has_embeddings = bool(members)
        if members:
            embedded = [members[number] for number in self._columns]
            self._starts = np.cumsum([len(one) for one in embedded])[:-1]
            self._embedded = np.concatenate(embedded)
        else:
            members = {at: one.fingerprints for at, one in known.items()}
        self._discriminant = Discriminant(members, self._columns)
        everybody = range(len(clean))
        judges = [at for at in everybody if at >= generators] or list(everybody)
        # Who went through no such channel judges as it is: far better than nobody.
        judges = [at for at in judges if at in known] or judges
        judged = {at: self.scores(known.get(at, clean[at]), own=at) for at in judges}
        nulls = [
            _spread([scores[:, column] for at, scores in judged.items() if at != number])
            for column, number in enumerate(self._columns)
        ]
        self._means_of_others, self._deviations = np.array(nulls).swapaxes(0, 1)
        if not np.isfinite(nulls).all():
            raise GalleryError(
                "the gallery holds numbers that are not finite",
                hint="Enrol its images again, or leave it out.",
            )

    def release(self) -> None:
        """Drop what leaving images out takes: what is left compares queries."""
        for part in self._parts:
            part.release()
        self._discriminant.release()

    def z(self, images: Images, own: int | None = None) -> Float64Array:
        """Return z-scores, (n, generators, kinds); minus infinity where one is not known.

        See `scores` for the arguments.
        """
        raw = self.scores(images, own)
        z = np.full((len(raw), self._generators, raw.shape[2]), -np.inf)
        z[:, self._columns] = (raw - self._means_of_others) / self._deviations
        return z

    def scores(self, images: Images, own: int | None = None) -> Float64Array:
        """Return scores of every kind with each generator that is known, (n, known, kinds).

        Args:
            images: Some, whitened.
            own: The source whose images these are, in its order: none is compared with itself.
        """
        column = self._columns.index(own) if own in self._columns else None
        scores = [part.scores(images, column) for part in self._parts]
        rows = images.fingerprints
        if self._has_embeddings:
            assert images.embeddings is not None
            rows = images.embeddings
            scores.append(self._nearest_scores(rows, column))
        scores.append(self._discriminant.scores(rows, own).astype(np.float64))
        return np.stack(scores, axis=2)

    def _nearest_scores(self, embeddings: Float32Array, column: int | None) -> Float64Array:
        """Return each image's mean cosine with the nearest of every support, (n, known)."""
        cosines = np.split(products(embeddings, self._embedded), self._starts, axis=1)
        scores = [_mean_of_nearest(one, is_own=at == column) for at, one in enumerate(cosines)]
        return np.stack(scores, axis=1)


class _PartComparison:
    """Compares one part of fingerprints with the supports of some generators.

    Args:
        supports: Images of each generator.
        part: Which of a fingerprint's numbers.
        typical: Strength of a typical image.
    """

    def __init__(self, supports: Sequence[Images], part: slice, typical: float) -> None:
        self._part, self._typical = part, typical
        self._supports = [self._rows(one)[0] for one in supports]
        self._means = np.array([rows.mean(axis=0) for rows in self._supports])

    def release(self) -> None:
        """Drop what leaving images out takes."""
        self._supports.clear()

    def scores(self, images: Images, column: int | None) -> Float64Array:
        """Return weighted mean cosines with supports, (n, known).

        Args:
            images: Some.
            column: The generator whose images these are: none is compared with itself.
        """
        rows, lengths = self._rows(images)
        values = products(rows, self._means).astype(np.float64)
        if column is not None:
            count = len(rows)
            itself = np.einsum("nd,nd->n", rows, self._supports[column])
            values[:, column] = (count * values[:, column] - itself) / max(1, count - 1)
        strengths = images.strengths.astype(np.float64) * lengths
        return np.asarray(values * np.sqrt(strengths / self._typical)[:, None])

    def _rows(self, images: Images) -> tuple[Float32Array, Float32Array]:
        """Return the part of each fingerprint with length 1, and its length."""
        rows = images.fingerprints[:, self._part]
        lengths = np.linalg.norm(rows, axis=1)
        return rows / np.maximum(lengths, SHORTEST)[:, None], lengths


def _bank_channels(supports: Sequence[SupportSet]) -> tuple[str, ...]:
    """Return all channels that any support is known in, but for the drawn one."""
    found = dict.fromkeys(channel for support in supports for channel in support.channels)
    return tuple(channel for channel in found if channel != DRAWN)


def _best(z: Sequence[Float64Array]) -> Fits:
    """Return, per candidate, the channel of the largest sum; z per channel, (n, S, kinds)."""
    every = np.stack(z, axis=2)
    together = every.sum(axis=3)
    best = together.argmax(axis=2)
    chosen = np.take_along_axis(every, best[:, :, None, None], axis=2)[:, :, 0]
    return Fits(chosen, together.max(axis=2), best)


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
