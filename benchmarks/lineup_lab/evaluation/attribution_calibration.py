"""Fitting a lineup's calibration on raw scores of labelled images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone

from lineup._version import __version__
from lineup.calibration.calibration import Calibration, CalibrationVariant
from lineup.calibration.verdict import scores_from_evidence
from lineup.results import REAL, UNKNOWN
from lineup_lab.evaluation.attribution import Judge
from lineup_lab.evaluation.calibration_metrics import held_out_figures
from lineup_lab.evaluation.score_file import RawScores
from lineup_lab.fitting.calibration import FitOptions, FittedVariant, fit_variant
from lineup_lab.fitting.table import LabelledQuery, ScoreTable, table_from_queries, with_strangers


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
        known = {key: value if math.isfinite(value) else None for key, value in figures.items()}
        sets.append(replace(one, figures=known))
    return replace(fitted.variant, sets=tuple(sets))
