"""Fitting a calibration on labelled queries.

One part of the queries fits ratios and weights, the other the conformal thresholds, exact only on
queries that the fit has not seen. Ratios that weights are fitted on come from calibrations of the
other folds; rules of families, and the figures, from posteriors by fits without the query's fold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from lineup._version import __version__
from lineup.calibration.calibration import (
    Calibration,
    CalibrationVariant,
    Combination,
    ConformalThresholds,
    EvidenceCalibration,
    EvidenceKind,
    EvidenceSet,
    Options,
    SetCalibration,
    Sharing,
)
from lineup.calibration.verdict import Ratios, fused_ratios, scores_from_evidence
from lineup.errors import CalibrationError
from lineup.types import Float64Array
from lineup_lab.attribution import Judge
from lineup_lab.fit_ratios import (
    fit_combinations,
    fit_evidence,
    keys_of,
    log_posterior,
    pair_loss,
)
from lineup_lab.fit_rules import families_from_names, fit_family, fit_thresholds
from lineup_lab.metrics import PERCENT, expected_calibration_error, negative_log_likelihood
from lineup_lab.scores import RawScores
from lineup_lab.table import (
    LabelledQuery,
    ScoreTable,
    folds_from_groups,
    label_weights,
    table_from_queries,
    with_strangers,
)

MIN_QUERIES = 5
"""Of every candidate that is calibrated, and of what no candidate made."""

CONFORMAL_SHARE = 0.3
"""Of the queries, kept for the conformal thresholds."""


@dataclass(frozen=True, slots=True)
class FitOptions:
    """Options of a fit.

    Attributes:
        level: Coverage of the conformal set, 0..1 exclusive.
        family_level: Accuracy within a family below which siblings are reported together.
        folds: Parts of the cross-validation, at least 2.
        seed: Seed of the splits.
    """

    level: float = 0.9
    family_level: float = 0.9
    folds: int = 5
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Posteriors that no query took part in making its own of.

    Attributes:
        rows: Queries that have the whole set of evidences, shape (M,).
        log_posterior: Candidates, generated, photograph; shape (M, K + 2).
    """

    rows: npt.NDArray[np.intp]
    log_posterior: Float64Array


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
    """Fit a calibration on distinct images, with one variant per number of resyntheses.

    `roles` is the right label per source, `groups` the group per `<source>/<file name>`, such as
    its prompt. `on_gamma` is told each number that is done.

    Raises:
        CalibrationError: There are too few images.
    """
    variants: list[CalibrationVariant] = []
    table: ScoreTable | None = None
    for gamma in gammas:
        queries = [
            LabelledQuery(
                id=row.sha256 or row.path,
                truth=roles[row.source],
                scores={one.name: scores_from_evidence(one) for one in judge.evidence(row, gamma)},
                group=groups.get(row.key, ""),
            )
            for row in rows
        ]
        families = judge.families or {}
        table = with_strangers(table_from_queries(judge.candidates, queries), families)
        settings = judge.evidence_options(judge.at_gamma(gamma))
        variants.append(fit_variant(table, settings, families, options))
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


def fit_variant(
    table: ScoreTable,
    options: Mapping[str, Options],
    family_of: Mapping[str, str],
    fit_options: FitOptions,
) -> CalibrationVariant:
    """Fit the calibration for one choice of options per evidence.

    Raises:
        CalibrationError: There are too few queries.
    """
    check_counts(table)
    parts = folds_from_groups(table, 20, fit_options.seed)
    is_conformal = parts < round(20 * CONFORMAL_SHARE)
    fit_part, conformal_part = (
        table.rows(np.flatnonzero(chosen)) for chosen in (~is_conformal, is_conformal)
    )
    names = calibratable_evidences(table)
    if not names:
        raise CalibrationError(
            f"No evidence has at least {MIN_QUERIES} scores of candidates' own queries and as many "
            "of others.",
            hint="Add images of candidates, and of photographs or other generators.",
        )
    # Hundreds of fits of a handful of parameters: waking threads takes longer than the sums.
    with threadpool_limits(1, user_api="blas"):
        evidence, combinations = _fit_model(fit_part, names, fit_options)
        held_out = held_out_posteriors(table, names, fit_options)
    conformal = _posteriors(conformal_part, evidence, combinations)
    sets = [
        SetCalibration(
            weights=combination.weights,
            bias=combination.bias,
            photograph_bias=combination.photograph_bias,
            thresholds=_thresholds(conformal_part, conformal.get(chosen), fit_options.level),
            families={
                family: fit_family(
                    members,
                    table.candidates,
                    np.exp(held_out[chosen].log_posterior),
                    table.truth[held_out[chosen].rows],
                    fit_options.family_level,
                )
                for family, members in families_from_names(family_of).items()
            },
            figures=held_out_figures(table, held_out[chosen]),
        )
        for chosen, combination in combinations.items()
        if chosen in held_out
    ]
    for name, one in evidence.items():
        evidence[name] = replace(one, options=dict(options.get(name, {})))
    return CalibrationVariant(evidence, tuple(sets))


def check_counts(table: ScoreTable) -> None:
    """Refuse a table that nothing can be learnt from, by `CalibrationError`."""
    counts = table.counts
    known = [name for name in table.candidates if counts[name]]
    short = [name for name in known if counts[name] < MIN_QUERIES]
    others = sum(counts[label] for label in table.labels[-2:])
    hint = "Expected layout: DIR/<candidate>/*.png, DIR/real/*.png, DIR/<any other name>/*.png."
    if not known:
        raise CalibrationError(
            f"No query is of a candidate ({', '.join(table.candidates)}).", hint=hint
        )
    if short:
        raise CalibrationError(
            f"{short[0]!r} has {counts[short[0]]} usable queries, expected at least {MIN_QUERIES}.",
            hint="Add images to its folder, or take the folder away.",
        )
    if others < MIN_QUERIES:
        raise CalibrationError(
            f"{others} usable queries are of no candidate, expected at least {MIN_QUERIES}: "
            "without them nothing tells a candidate from an unknown generator.",
            hint=hint,
        )


def calibratable_evidences(table: ScoreTable) -> tuple[str, ...]:
    """Return the evidences that enough queries have a score of, matches as well as others."""
    return tuple(name for name in table.scores if min(match_counts(table, name)) >= MIN_QUERIES)


def match_counts(table: ScoreTable, name: str) -> tuple[int, int]:
    """Return how many queries have a score of their own origin, and how many only of others."""
    present = table.present(name)
    if table.kinds[name] is EvidenceKind.PHOTOGRAPH:
        own = table.truth == len(table.candidates) + 1
        return int((present[:, 0] & own).sum()), int((present[:, 0] & ~own).sum())
    known = table.truth < len(table.candidates)
    columns = np.minimum(table.truth, len(table.candidates) - 1)
    matches = known & present[np.arange(len(table)), columns]
    return int(matches.sum()), int((present.any(axis=1) & ~known).sum())


def held_out_posteriors(
    table: ScoreTable, names: Sequence[str], options: FitOptions
) -> dict[EvidenceSet, HeldOut]:
    """Return posteriors of all queries, each by a fit without its fold."""
    folds = folds_from_groups(table, options.folds, options.seed + 1)
    found: dict[EvidenceSet, list[HeldOut]] = {}
    for fold in range(options.folds):
        inside = np.flatnonzero(folds == fold)
        if not inside.size:
            continue
        model = _fit_model(table.rows(np.flatnonzero(folds != fold)), names, options)
        for chosen, one in _posteriors(table.rows(inside), *model).items():
            found.setdefault(chosen, []).append(HeldOut(inside[one.rows], one.log_posterior))
    return {
        chosen: HeldOut(
            rows=np.concatenate([one.rows for one in parts]),
            log_posterior=np.concatenate([one.log_posterior for one in parts]),
        )
        for chosen, parts in found.items()
    }


def held_out_figures(table: ScoreTable, held_out: HeldOut) -> dict[str, float | None]:
    """Return how good a calibration is on queries that it was not fitted on.

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


def _fit_model(
    table: ScoreTable, names: Sequence[str], options: FitOptions
) -> tuple[dict[str, EvidenceCalibration], dict[EvidenceSet, Combination]]:
    """Fit ratios, and weights on ratios of held-out folds."""
    folds = folds_from_groups(table, options.folds, options.seed)
    evidence: dict[str, EvidenceCalibration] = {}
    ratios: dict[str, Float64Array] = {}
    for name in names:
        tried = {sharing: _cross_fitted(table, name, sharing, folds) for sharing in Sharing}
        # On a tie the simpler one, which comes first.
        sharing = min(tried, key=lambda one: tried[one][1])
        evidence[name] = fit_evidence(table, name, sharing)
        ratios[name] = tried[sharing][0]
    return evidence, fit_combinations(table, ratios)


def _cross_fitted(
    table: ScoreTable, name: str, sharing: Sharing, folds: npt.NDArray[np.intp]
) -> tuple[Float64Array, float]:
    """Return ratios of every query by a fit without its fold, and their mean log loss."""
    ratios = np.full(table.scores[name].shape, np.nan)
    losses, sizes = [], []
    for fold in np.unique(folds):
        inside = np.flatnonzero(folds == fold)
        part = table.rows(inside)
        fitted = fit_evidence(table.rows(np.flatnonzero(folds != fold)), name, sharing)
        ratios[inside] = fitted.llrs(part.scores[name], keys_of(part, fitted.kind))
        losses.append(pair_loss(fitted, part, name))
        sizes.append(len(inside))
    usable = np.isfinite(losses)
    return ratios, float(np.average(np.array(losses)[usable], weights=np.array(sizes)[usable]))


def _posteriors(
    table: ScoreTable,
    evidence: Mapping[str, EvidenceCalibration],
    combinations: Mapping[EvidenceSet, Combination],
) -> dict[EvidenceSet, HeldOut]:
    """Return the posterior under every set of evidences, of the queries that have it."""
    ratios: Ratios = {
        name: one.llrs(table.scores[name], keys_of(table, one.kind))
        for name, one in evidence.items()
    }
    found = {}
    for chosen in combinations:
        at_hand = [table.present(name).any(axis=1) for name in chosen]
        rows = np.flatnonzero(np.logical_and.reduce(at_hand))
        if rows.size:
            part = {name: ratios[name][rows] for name in chosen}
            fused = fused_ratios(table.kinds, part, combinations, len(table.candidates))
            found[chosen] = HeldOut(rows, log_posterior(fused, table.candidates))
    return found


def _thresholds(table: ScoreTable, one: HeldOut | None, level: float) -> ConformalThresholds:
    if one is None:
        return ConformalThresholds()
    return fit_thresholds(one.log_posterior, table.truth[one.rows], level)
