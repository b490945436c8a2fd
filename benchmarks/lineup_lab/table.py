"""Labelled queries and their raw scores, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lineup.calibration.calibration import EvidenceKind
from lineup.errors import CalibrationError
from lineup.fusion import prior_from_candidates
from lineup.results import GENERATED, PHOTOGRAPH
from lineup.types import Float64Array
from lineup_lab.dataset import drawn_place


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """One query whose origin is known.

    Attributes:
        id: Hash of its content, or anything else that identifies it.
        truth: A candidate, `GENERATED` or `PHOTOGRAPH`.
        scores: Raw score per key (a candidate, or `PHOTOGRAPH`) per evidence.
        group: Queries of one group, such as those of one prompt, are never torn apart by a
            split; the id when empty.
    """

    id: str
    truth: str
    scores: Mapping[str, Mapping[str, float]]
    group: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTable:
    """Queries as rows; labels are the candidates, then `GENERATED`, then `PHOTOGRAPH`.

    Attributes:
        candidates: Names, K of them.
        truth: Label of each query, shape (N,), 0..K + 1.
        scores: Per evidence, shape (N, K) or, when it speaks of `PHOTOGRAPH`, (N, 1); NaN is
            absent.
        kinds: What each evidence speaks of.
        groups: Group of each query, N of them.
    """

    candidates: tuple[str, ...]
    truth: npt.NDArray[np.intp]
    scores: Mapping[str, Float64Array]
    kinds: Mapping[str, EvidenceKind]
    groups: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def labels(self) -> tuple[str, ...]:
        """Candidates, `GENERATED`, `PHOTOGRAPH`."""
        return (*self.candidates, GENERATED, PHOTOGRAPH)

    @property
    def counts(self) -> dict[str, int]:
        """Number of queries per label."""
        found = np.bincount(self.truth, minlength=len(self.labels)).tolist()
        return dict(zip(self.labels, found, strict=True))

    def rows(self, chosen: npt.NDArray[np.intp]) -> ScoreTable:
        """Return some of the queries."""
        return ScoreTable(
            candidates=self.candidates,
            truth=self.truth[chosen],
            scores={name: values[chosen] for name, values in self.scores.items()},
            kinds=self.kinds,
            groups=tuple(self.groups[row] for row in chosen),
        )

    def present(self, name: str) -> npt.NDArray[np.bool_]:
        """Return where an evidence has a score, shape (N, K), or (N, 1) for `PHOTOGRAPH`."""
        return ~np.isnan(self.scores[name])


def kind_from_keys(name: str, keys: Sequence[str]) -> EvidenceKind:
    """Tell what an evidence speaks of.

    Raises:
        CalibrationError: It scores candidates and `PHOTOGRAPH` at once.
    """
    if PHOTOGRAPH not in keys:
        return EvidenceKind.CANDIDATES
    if len(set(keys)) > 1:
        raise CalibrationError(
            f"The evidence {name!r} scores photographs and candidates at once "
            f"({', '.join(sorted(set(keys)))}); one evidence speaks of one of the two."
        )
    return EvidenceKind.PHOTOGRAPH


def table_from_queries(candidates: Sequence[str], queries: Sequence[LabelledQuery]) -> ScoreTable:
    """Arrange queries; scores of keys that are no candidates are left out.

    Raises:
        CalibrationError: A truth is no label, or an evidence mixes kinds.
    """
    labels = (*candidates, GENERATED, PHOTOGRAPH)
    for query in queries:
        if query.truth not in labels:
            raise CalibrationError(
                f"Query {query.id} is labelled {query.truth!r}, expected one of: "
                f"{', '.join(labels)}."
            )
    names = sorted({name for query in queries for name in query.scores})
    known = {*candidates, PHOTOGRAPH}
    kinds = {
        name: kind_from_keys(
            name, [key for query in queries for key in query.scores.get(name, {}) if key in known]
        )
        for name in names
    }
    return ScoreTable(
        candidates=tuple(candidates),
        truth=np.array([labels.index(query.truth) for query in queries], np.intp),
        scores={name: _scores(name, kinds[name], candidates, queries) for name in names},
        kinds=kinds,
        groups=tuple(query.group or query.id for query in queries),
    )


def label_weights(table: ScoreTable) -> Float64Array:
    """Return how much each query counts so that labels weigh as their prior, shape (N,).

    The weights sum to N; labels without a query are left out of the prior.
    """
    prior = prior_from_candidates(table.candidates)
    shares = np.array([prior[label] for label in table.labels])
    counts = np.bincount(table.truth, minlength=len(shares))
    weights = shares[table.truth] / counts[table.truth]
    scaled: Float64Array = weights * (len(table) / weights.sum())
    return scaled


def folds_from_groups(table: ScoreTable, folds: int, seed: int) -> npt.NDArray[np.intp]:
    """Assign every query to a fold, evenly per label, whole groups together; shape (N,).

    Groups are ordered by the hash of seed and name, so the draw depends on nothing else.
    """
    members: dict[str, list[int]] = {}
    for row, group in enumerate(table.groups):
        members.setdefault(group, []).append(row)
    order = sorted(members, key=lambda group: drawn_place(seed, group))
    sizes = np.zeros((folds, len(table.labels)))
    assigned = np.empty(len(table), np.intp)
    for group in order:
        rows = members[group]
        added = np.bincount(table.truth[rows], minlength=len(table.labels))
        # The fold that has fewest of these labels, then fewest queries; ties to the first.
        fold = min(range(folds), key=lambda k: (float(sizes[k] @ added), float(sizes[k].sum())))
        sizes[fold] += added
        assigned[rows] = fold
    return assigned


def _scores(
    name: str, kind: EvidenceKind, candidates: Sequence[str], queries: Sequence[LabelledQuery]
) -> Float64Array:
    keys = (PHOTOGRAPH,) if kind is EvidenceKind.PHOTOGRAPH else tuple(candidates)
    values = [[query.scores.get(name, {}).get(key, np.nan) for key in keys] for query in queries]
    array = np.array(values, np.float64).reshape(len(queries), len(keys))
    array[~np.isfinite(array)] = np.nan
    return array


def with_strangers(table: ScoreTable, family_of: Mapping[str, str]) -> ScoreTable:
    """Add each candidate's queries once more as those of a generator that the lineup does not know.

    What an unknown generator looks like to the candidates cannot be learned from photographs. So
    every candidate is taken for one in turn: in the copy its own scores, and those of the siblings
    it shares a family with, are absent, and the truth is `GENERATED`.

    Args:
        table: The calibration queries.
        family_of: Family per candidate, for those that have one.
    """
    families = [family_of.get(name, name) for name in table.candidates]
    rows = [row for row, truth in enumerate(table.truth) if truth < len(families)]
    copies = table.rows(np.asarray(rows, np.intp))
    absent = np.asarray([[one == families[truth] for one in families] for truth in copies.truth])
    if not rows or absent.all():
        return table  # nobody is left that a stranger could be taken for
    scores = {
        name: np.where(absent, np.nan, values)
        if table.kinds[name] is EvidenceKind.CANDIDATES
        else values
        for name, values in copies.scores.items()
    }
    return ScoreTable(
        candidates=table.candidates,
        truth=np.concatenate([table.truth, np.full(len(rows), len(families), np.intp)]),
        scores={name: np.concatenate([table.scores[name], scores[name]]) for name in scores},
        kinds=table.kinds,
        groups=(*table.groups, *copies.groups),
    )
