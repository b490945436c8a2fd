"""From features to calibrated evidence: how likely each candidate of a gallery made an image.

A query's z-scores (`lineup.gallery.comparing`) become log likelihood ratios, "made by this source"
against "made by anything else", by one logistic regression for all sources over

    fit       the z-score of each kind, in the channel in which their sum is largest
    margin    their sum there, minus that of the best source outside of the own family
    support   the logarithm of the number of images that the source was enrolled with

It is fitted on the gallery itself, in the channels that its images were drawn through: every image
is compared with its own source, itself left out (a positive); with all others, but for those of
the family; with these again while its own source is missing, as an unknown generator's is; and
photographs with all. So another source, or more support, refits it in less than a second, without
any image. Within a family nothing tells who made an image: it is the family that is named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, islice

import numpy as np
import numpy.typing as npt

from lineup.gallery.channel_comparing import Images
from lineup.gallery.comparing import Comparison, Fits
from lineup.gallery.gallery import Gallery
from lineup.gallery.kept_fits import KeptFits
from lineup.gallery.support import SupportSet
from lineup.types import AnyArray, Float64Array

PRIOR_FIT, PRIOR_REST = 0.3, (0.4, 0.8, -3.2)
"""Weights of every fit, of margin and support, and intercept, where the gallery says nothing:
rounded from fits on nine public generators, half of their images each."""

FAMILY_AUC = 0.65
"""Sources that are told apart less well than this are reported as a family."""

FAMILY_IMAGES = 5
"""Fewer images than this do not show that two sources are alike."""

NEAREST = 3
"""How many of a source's images are named as the nearest."""

PRIOR_WEIGHT = 4.0
"""How many images the prior line counts for."""


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What the gallery says of one image.

    Attributes:
        scores: The largest z-score over channels per candidate, shape (S,).
        llrs: Natural-log likelihood ratio per candidate, shape (S,).
        channels: Per candidate, the channel in which it fits best.
    """

    scores: Float64Array
    llrs: Float64Array
    channels: tuple[str, ...]


class SourceScorer:
    """Judges queries by the candidates of one gallery.

    Args:
        gallery: The known sources.
        embeddings: Key of embeddings to compare beside the fingerprints; sources without them are
            left out.
        parts: Lengths of what a fingerprint is made of; empty: it is one.
        kept: Where fits are kept; None fits anew.

    Attributes:
        names: The candidates, in the order of every array returned here.
        families: Candidates that the evidence cannot tell apart.
        line: Weights of fits, margin and support, and intercept of the ratio.
        llr_limit: Largest claim in either direction: a gallery of n images cannot show odds
            beyond about n to 1.
    """

    def __init__(
        self,
        gallery: Gallery,
        embeddings: str | None = None,
        *,
        parts: Sequence[int] = (),
        kept: KeptFits | None = None,
    ) -> None:
        self._comparison = Comparison(gallery, embeddings, parts, kept)
        known = self._comparison.known
        self.names = tuple(one.name for one in self._comparison.candidates)
        self._supports = np.log([float(len(one)) for one in known])
        everybody = (*known, *self._comparison.strangers)
        self._counts = [len(one) for one in everybody]
        self.llr_limit = math.log(2 + sum(self._counts))
        groups = self._alike()
        named = [[self.names[at] for at in one if at < len(self.names)] for one in groups]
        self.families = tuple(tuple(one) for one in named if len(one) > 1)
        heads = {at: members[0] for members in groups for at in members}
        self._families = np.array([heads.get(at, at) for at in range(len(known))])
        self.line = self._fitted_line()

    def _alike(self) -> list[list[int]]:
        """Return which of the known the evidence cannot tell apart, by what their images show.

        Two belong together where the difference of the two fits tells an image of one from an
        image of the other with an AUC below `FAMILY_AUC`, and so do those that belong to one.
        """
        together = [one.together for one in self._comparison.own_fits]
        groups: list[set[int]] = []
        for one, other in combinations(range(len(self._supports)), 2):
            own, others = (
                fits[:, one] - fits[:, other] for fits in (together[one], together[other])
            )
            if min(len(own), len(others)) < FAMILY_IMAGES or _auc(own, others) >= FAMILY_AUC:
                continue
            joined = [group for group in groups if group & {one, other}]
            groups = [group for group in groups if group not in joined]
            groups.append({one, other}.union(*joined))
        return [sorted(group) for group in groups]

    def judgement(self, images: Images) -> Judgement:
        """Judge one image: arrays with a single row."""
        if not self.names:
            return Judgement(np.empty(0), np.empty(0), ())
        fits, own = self._comparison.fits(images), slice(len(self.names))
        channels = tuple(self._comparison.channels[at] for at in fits.channels[0, own])
        return Judgement(fits.together[0, own], self._llrs(fits)[0, own], channels)

    def nearest(self, image: Images, support: SupportSet, channel: str) -> tuple[str, ...]:
        """Return the names of the files of a support that one image is nearest to, nearest first.

        Args:
            image: Arrays with a single row.
            support: One of the gallery's.
            channel: In which they are compared.
        """
        if not support.names:
            return ()
        order = np.argsort(-self._comparison.nearness(image, support, channel), kind="stable")
        names = (support.names[row] for row in order.tolist())
        return tuple(islice(filter(None, names), NEAREST))

    def others(self, name: str) -> tuple[int, int]:
        """Return how many images, of how many sources, a false-accept rate is measured on."""
        column = self.names.index(name)
        rest = [count for at, count in enumerate(self._counts) if at != column]
        return sum(rest), len(rest)

    def false_accept_rate(self, name: str, llr: float) -> float:
        """Return the share of the gallery's other images with at least this ratio, 0..1 or NaN."""
        column = self.names.index(name)
        others = [ratios[:, column] for at, ratios in enumerate(self._own_ratios) if at != column]
        return _mean(np.concatenate([*others, np.empty(0)]) >= llr)

    def false_reject_rate(self, name: str, llr: float) -> float:
        """Return the share of the source's own images with a lower ratio, 0..1 or NaN."""
        column = self.names.index(name)
        own = self._own_ratios[column][:, column]
        return _mean(own < llr) if len(own) > 1 else math.nan

    @cached_property
    def _own_ratios(self) -> list[Float64Array]:
        """Ratios of the gallery's own images, one array (n, known) per source, photographs last."""
        return [self._llrs(one) for one in self._comparison.own_fits]

    def _llrs(self, fits: Fits) -> Float64Array:
        line = np.asarray(self.line)
        values = self._design(fits, np.arange(len(self._supports))) @ line[:-1] + line[-1]
        return np.asarray(np.clip(values, -self.llr_limit, self.llr_limit))

    def _fitted_line(self) -> tuple[float, ...]:
        everyone = np.arange(len(self._supports))
        kinds = self._comparison.kinds
        features = kinds + 2
        nothing = np.empty((0, features))
        positives, negatives = [nothing], [nothing]
        for own, fits in enumerate(self._comparison.own_fits):
            strangers = everyone
            if own < len(everyone):
                strangers = everyone[self._families != self._families[own]]
                negatives.append(self._design(fits, strangers).reshape(-1, features))
            design = self._design(fits, everyone)
            negatives.append(design[:, strangers].reshape(-1, features))
            if own < len(everyone) and len(design) > 1:
                positives.append(design[:, own])
        prior = (*[PRIOR_FIT] * kinds, *PRIOR_REST)
        return _logistic_line(np.concatenate(positives), np.concatenate(negatives), prior)

    def _design(self, fits: Fits, known: npt.NDArray[np.intp]) -> Float64Array:
        """Return fits, margin and support, (n, known, features), where only some are known.

        A source alone, or one family, beats the average of images that it did not make, whose
        z-score is 0.
        """
        together, families = fits.together[:, known], self._families[known]
        is_rival = families[:, None] != families
        rival = np.where(is_rival, together[:, None], -np.inf).max(axis=2, initial=-np.inf)
        margin = together - np.where(np.isneginf(rival), 0.0, rival)
        support = np.broadcast_to(self._supports[known], margin.shape)
        return np.concatenate([fits.z[:, known], margin[..., None], support[..., None]], axis=2)


def _auc(above: Float64Array, below: Float64Array) -> float:
    """Return how often a value of `above` exceeds one of `below`; ties count half."""
    differences = above[:, None] - below[None]
    return float((differences > 0).mean() + (differences == 0).mean() / 2)


def _mean(chosen: AnyArray) -> float:
    return float(chosen.mean()) if chosen.size else math.nan


def _logistic_line(
    positives: Float64Array, negatives: Float64Array, prior_line: tuple[float, ...]
) -> tuple[float, ...]:
    """Fit the log likelihood ratio as a line by logistic regression, by damped Newton steps.

    The fitted log odds, less those of the two numbers of rows, are the ratio. The prior line counts
    as `PRIOR_WEIGHT` positives. The problem is convex; halving a step that does not lower the loss
    is needed because a plain Newton step overshoots where the logistic curve is flat.

    Args:
        positives: Shape (n, features).
        negatives: Shape (m, features).
        prior_line: Weights and intercept.
    """
    prior = np.array(prior_line)
    if not len(positives) or not len(negatives):
        return prior_line
    rows = np.concatenate([positives, negatives])
    design = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    targets = np.repeat([1.0, 0.0], [len(positives), len(negatives)])
    offset = math.log(len(positives) / len(negatives))
    ridge = PRIOR_WEIGHT * np.diag([*np.maximum(rows.var(axis=0), 1e-3), 1.0])

    def loss(line: Float64Array) -> float:
        logits = design @ line + offset
        data = (np.logaddexp(0, logits) - targets * logits).sum()
        return float(data + (line - prior) @ ridge @ (line - prior) / 2)

    line = prior.copy()
    for _ in range(100):
        odds = 1 / (1 + np.exp(-np.clip(design @ line + offset, -30, 30)))
        gradient = design.T @ (odds - targets) + ridge @ (line - prior)
        curvature = (design * (odds * (1 - odds))[:, None]).T @ design + ridge
        step = np.linalg.solve(curvature, gradient)
        before = loss(line)
        while loss(line - step) > before and np.abs(step).max() > 1e-9:
            step /= 2
        line = line - step
        if np.abs(step).max() <= 1e-9:
            break
    # A falling line would call dissimilar images matches; that only happens on noise.
    return (*np.maximum(line[:-1], 0.0).tolist(), float(line[-1]))


def highest_rate(hits: int, trials: int, level: float = 0.975) -> float:
    """Return the highest rate that as few hits do not rule out (Clopper and Pearson 1934).

    Args:
        hits: How often something was seen.
        trials: In how many trials, at least 1.
        level: Confidence that the rate is not higher; 0.975 is the upper end of a 95 % interval.

    Returns:
        The rate, 0..1, at which so few hits have the probability 1 - level.
    """
    if hits >= trials:
        return 1.0
    ways = [math.log(math.comb(trials, count)) for count in range(hits + 1)]
    low, high = hits / trials, 1.0
    while high - low > 1e-9:
        rate = (low + high) / 2
        logs = [
            way + count * math.log(rate) + (trials - count) * math.log1p(-rate)
            for count, way in enumerate(ways)
        ]
        is_likely = math.fsum(map(math.exp, logs)) > 1 - level
        low, high = (rate, high) if is_likely else (low, rate)
    return high
