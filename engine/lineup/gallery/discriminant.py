"""What tells the images of one source from all others: a linear discriminant of embeddings.

Ridge regression of "made by this source" (1) or not (0) on the embedding, for all sources at once;
every source, and all photographs together, weigh alike however many images they have. How far an
image lies on a source's side says more of an unknown generator's images than how near it is to the
nearest ones alone (docs/evidence.md).

What it says of its own images would be learnt by heart. Leaving rows out of a ridge regression
changes a prediction by what can be computed from the whole fit: with H = X P the hat matrix,
I the influence of the left-out rows on the prediction and r their residuals,

    f_without = f - I (1 - H)^-1 r

(Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, equation 7.64, for blocks.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lineup.gallery.whitening import products
from lineup.types import Float32Array

PENALTY = 0.3
"""Of the squared weights, beside the squared error of rows of length 1 that weigh 1 on average."""


@dataclass(frozen=True, slots=True, eq=False)
class _Member:
    """What it takes to leave out a source's rows, n of them.

    Attributes:
        rows: Shape (n, E).
        pull: By how much an embedding's prediction follows each row's target: (n, E).
        residuals: Targets less predictions, (n, S).
    """

    rows: Float32Array
    pull: Float32Array
    residuals: Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class Discriminant:
    """Scores images by how far they lie on each source's side.

    Attributes:
        sources: Numbers of the sources that it tells, S of them.
        slopes: Shape (S, E).
        bias: Shape (S,).
        members: What leaving images out takes, by the number of their source; empty where only
            queries are scored.
    """

    sources: tuple[int, ...]
    slopes: Float32Array
    bias: Float32Array
    members: Mapping[int, _Member] = field(default_factory=dict)

    @classmethod
    def fitted(cls, members: Mapping[int, Float32Array], sources: Sequence[int]) -> Discriminant:
        """Fit.

        Args:
            members: Embeddings by the number of their source, each (n, E), rows of length 1.
            sources: Numbers of the sources to tell; all other members are photographs.
        """
        rows = np.concatenate(list(members.values()))
        owners = np.repeat(list(members), [len(one) for one in members.values()])
        classes = np.where(np.isin(owners, sources), owners, -1)
        _, places, counts = np.unique(classes, return_inverse=True, return_counts=True)
        weights = (len(rows) / len(counts) / counts[places]).astype(np.float32)
        targets = (owners[:, None] == np.array(sources)).astype(np.float32)
        if len(counts) == 1:  # who is alone differs from nobody
            targets[:] = 0.0
        bias = targets.mean(axis=0)
        pull = _pull(rows, weights)
        slopes = np.asarray((targets - bias).T @ pull)
        residuals = targets - (products(rows, slopes) + bias)
        ends = np.cumsum([len(one) for one in members.values()])[:-1]
        shares = (np.split(one, ends) for one in (rows, pull, residuals))
        return cls(
            tuple(sources),
            slopes,
            bias,
            {number: _Member(*own) for number, *own in zip(members, *shares, strict=True)},
        )

    def scores(self, rows: Float32Array, own: int | None = None) -> Float32Array:
        """Return about 1 for a source's images and 0 for others, (n, S).

        Args:
            rows: Embeddings, (n, E), of length 1.
            own: The member whose images these are, in its order: what a fit without the image says
                of its own source, and without all of the source's images of the others, as of an
                unknown generator's image; of a photograph, without it alone.
        """
        found: Float32Array = np.asarray(products(rows, self.slopes) + self.bias)
        if own is None or own not in self.members:
            return found
        member = self.members[own]
        influence, hat = rows @ member.pull.T, member.rows @ member.pull.T
        share = np.diag(influence) / (1 - np.diag(hat))
        without_it: Float32Array = found - share[:, None] * member.residuals
        if own not in self.sources:
            return without_it
        left = np.eye(len(hat), dtype=np.float32) - hat
        without_all: Float32Array = found - influence @ np.linalg.solve(left, member.residuals)
        column = self.sources.index(own)
        without_all[:, column] = without_it[:, column]
        return without_all


def _pull(rows: Float32Array, weights: Float32Array) -> Float32Array:
    """Return by how much a prediction follows each row's target, per number of the query, (N, E).

    By the smaller of the two systems of equations, solved in double precision.

    Args:
        rows: Shape (N, E).
        weights: Of each row's squared error, (N,).
    """
    weighed = rows * weights[:, None]
    if len(rows) <= rows.shape[1]:
        return np.asarray(_regularised_inverse(weighed @ rows.T) @ weighed)
    return np.asarray(weighed @ _regularised_inverse(weighed.T @ rows))


def _regularised_inverse(moments: Float32Array) -> Float32Array:
    system = moments.astype(np.float64)
    system[np.diag_indices_from(system)] += PENALTY
    return np.asarray(np.linalg.inv(system), np.float32)
