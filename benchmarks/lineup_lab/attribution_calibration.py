"""Fitting a lineup's calibration on raw scores of labelled images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np

from lineup._version import __version__
from lineup.calibration.calibration import Calibration, CalibrationVariant
from lineup.calibration.verdict import scores_from_evidence
from lineup.results import REAL, UNKNOWN
from lineup_lab.attribution import Judge
from lineup_lab.fit_calibration import FitOptions, FittedVariant, HeldOut, fit_variant
from lineup_lab.metrics import (
    PERCENT,
    expected_calibration_error,
    negative_log_likelihood,
)
from lineup_lab.scores import RawScores
from lineup_lab.table import (
    LabelledQuery,
    ScoreTable,
    label_weights,
    table_from_queries,
    with_strangers,
)


def calibration_roles(
    sources: Sequence[str], candidates: Sequence[str], real: Sequence[str]
) -> dict[str, str]:
    """Return the label per source: candidates by name, photographs, and all else unknown."""
    return {
        source: source
        if source in candidates
        else (REAL if source == REAL or source in real else UNKNOWN)
        for source in sources
    }


def calibration_from_rows(
    rows: Sequence[RawScores],
    roles: Mapping[str, str],
    judge: Judge,
    gammas: Sequence[int],
    *,
    lineup: str,
    options: FitOptions,
    groups: Mapping[str, str],
    on_gamma: Callable[[int], None] = lambda _: None,
) -> Calibration:
    """Fit a calibration with one variant per number of resyntheses.

    Args:
        rows: Distinct images with their scores.
        roles: Right label per source.
        judge: Tells the evidence with fewer resyntheses, and its options.
        gammas: Numbers of resyntheses, each at most the number that the scores come from.
        lineup: Name of the lineup.
        options: See `FitOptions`.
        groups: Group per `<source>/<file name>`, such as its prompt; images of one group are never
            torn apart by a split.
        on_gamma: Told each number that is done.

    Raises:
        CalibrationError: There are too few images.
    """
    variants: list[CalibrationVariant] = []
    table: ScoreTable | None = None
    for gamma in gammas:
        table = table_from_queries(
            judge.candidates, [_query(row, roles, judge, gamma, groups) for row in rows]
        )
        families = judge.families or {}
        table = with_strangers(table, families)
        settings = judge.evidence_options(judge.at_gamma(gamma))
        fitted = fit_variant(table, settings, families, options)
        variants.append(_with_figures(table, fitted))
        on_gamma(gamma)
    assert table is not None
    return Calibration(
        lineup=lineup,
        candidates=judge.candidates,
        level=options.level,
        family_level=options.family_level,
        created=datetime.now(timezone.utc).date().isoformat(),
        version=__version__,
        seed=options.seed,
        folds=options.folds,
        counts=table.counts,
        variants=tuple(variants),
    )


def _query(
    row: RawScores,
    roles: Mapping[str, str],
    judge: Judge,
    gamma: int,
    groups: Mapping[str, str],
) -> LabelledQuery:
    assert row.sha256 is not None
    return LabelledQuery(
        id=row.sha256,
        truth=roles[row.source],
        scores={one.name: scores_from_evidence(one) for one in judge.evidence(row, gamma)},
        group=groups.get(row.key, ""),
    )


def _with_figures(table: ScoreTable, fitted: FittedVariant) -> CalibrationVariant:
    sets = []
    for one in fitted.variant.sets:
        figures = held_out_figures(table, fitted.held_out[one.evidences])
        sets.append(replace(one, figures=figures))
    return replace(fitted.variant, sets=tuple(sets))


def held_out_figures(table: ScoreTable, held_out: HeldOut) -> dict[str, float | None]:
    """Return how good a calibration is on queries that it was not fitted on.

    Args:
        table: The calibration queries.
        held_out: Posteriors of those that have a set of evidences.

    Returns:
        `accuracy` in percent among the candidates' queries (None without any), `ece` 0..1 and `nll`
        in nats with "none of the candidates" as one answer, and `queries`.
    """
    part = table.rows(held_out.rows)
    posterior = np.exp(held_out.log_posterior)
    candidates = len(table.candidates)
    best = posterior[:, :candidates].argmax(axis=1)
    known = part.truth < candidates
    answers = np.column_stack([posterior[:, :candidates], posterior[:, candidates:].sum(axis=1)])
    truth = np.minimum(part.truth, candidates)
    weights = label_weights(part)
    return {
        "accuracy": PERCENT * float((best == part.truth)[known].mean()) if known.any() else None,
        "ece": expected_calibration_error(
            answers.max(axis=1), answers.argmax(axis=1) == truth, weights
        ),
        "nll": negative_log_likelihood(answers[np.arange(len(answers)), truth], weights),
        "queries": float(len(part)),
    }
