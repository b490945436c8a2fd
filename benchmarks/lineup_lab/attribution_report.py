"""What an evaluation of attribution reports beside its figures: ablations, families, sets, cost."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from lineup.results import REAL, UNKNOWN
from lineup.trace import ENCODE, GENERATE, PIXELS
from lineup_lab.attribution import (
    AttributionFigures,
    Judge,
    Judged,
    figures_from_judged,
    intervals_from_judged,
    judged,
)
from lineup_lab.metrics import PERCENT
from lineup_lab.scores import (
    FINGERPRINTS_OF_PICTURES,
    RawScores,
    StageRecord,
    timed_rows,
)

NO_STAGE = StageRecord(ms=0.0, calls=0)
ALL = " + "
"""Joins the names of evidences to the name of their set."""


@dataclass(frozen=True, slots=True)
class Reported:
    """What the verdicts said, in percent; None where nothing was asked of it.

    Attributes:
        named: Candidates' queries whose verdict names the right one, or a family with it.
        family: Candidates' queries that were answered with a family.
        family_right: Those of them whose candidate belongs to the family.
        rejected: Other queries that were attributed to no candidate.
        coverage: Queries whose true label is in the conformal set.
        set_size: Mean size of the conformal set, in labels.
    """

    named: float | None
    family: float | None
    family_right: float | None
    rejected: float | None
    coverage: float | None
    set_size: float | None


@dataclass(frozen=True, slots=True)
class Cost:
    """Means over the images that no cache helped with and no model was loaded for.

    Attributes:
        images: How many those are.
        seconds: Per image, decoding left out; None without any.
        stage_seconds: Per stage.
        calls: Calls of models per stage and image.
        graph_runs: Runs per graph of the generators and image.
    """

    images: int
    seconds: float | None
    stage_seconds: Mapping[str, float]
    calls: Mapping[str, float]
    graph_runs: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """An evaluation by one procedure.

    Attributes:
        judged: The verdicts by all evidence.
        figures: Theirs.
        intervals: 95 % bootstrap interval of each figure that there is.
        sets: Figures per set of evidences, smaller sets first; names joined by " + ".
        reported: What the verdicts said.
        confusion: Queries of each source per label.
        cost: What a verdict costs.
    """

    judged: Judged
    figures: AttributionFigures
    intervals: Mapping[str, tuple[float, float]]
    sets: Mapping[str, AttributionFigures]
    reported: Reported
    confusion: Mapping[str, Mapping[str, int]]
    cost: Cost


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One number of resyntheses.

    Attributes:
        gamma: Resyntheses per candidate.
        sets: Figures per set of evidences.
        fused: Name of the set of all evidences.
        seconds: Per image: measured with the most resyntheses, what grows with their number taken
            in proportion; None when nothing was measured.
    """

    gamma: int
    sets: Mapping[str, AttributionFigures]
    fused: str
    seconds: float | None


def report_from_rows(
    rows: Sequence[RawScores],
    roles: Mapping[str, str],
    judge: Judge,
    *,
    resamples: int,
    seed: int,
) -> Report:
    """Evaluate one procedure.

    Args:
        rows: Distinct images with their scores.
        roles: Right label per source.
        judge: Makes verdicts of scores.
        resamples: Bootstrap resamples.
        seed: Of the bootstrap.
    """
    everything = judged(rows, roles, judge)
    figures = figures_from_judged(everything)
    return Report(
        judged=everything,
        figures=figures,
        intervals=intervals_from_judged(everything, resamples=resamples, seed=seed),
        sets=_sets(rows, roles, judge, None, figures),
        reported=reported_from_judged(everything),
        confusion=confusion_from_judged(everything),
        cost=cost_from_rows(rows),
    )


def sweep_from_rows(
    rows: Sequence[RawScores],
    roles: Mapping[str, str],
    judge: Judge,
    gammas: Sequence[int],
) -> tuple[SweepPoint, ...]:
    """Evaluate with the first few of the resyntheses, for each number of them."""
    points = []
    for gamma in gammas:
        fused = figures_from_judged(judged(rows, roles, judge, gamma=gamma))
        sets = _sets(rows, roles, judge, gamma, fused)
        seconds = seconds_at_gamma(rows, gamma / judge.settings.gamma)
        points.append(SweepPoint(gamma, sets, list(sets)[-1], seconds))
    return tuple(points)


def evidence_names(rows: Sequence[RawScores]) -> tuple[str, ...]:
    """Return the evidences that any row has, in the order of their cost."""
    return tuple(dict.fromkeys(one.name for row in rows for one in row.evidence))


def reported_from_judged(answers: Judged) -> Reported:
    """Return what the verdicts said."""
    named, family, family_right, rejected, covered, sizes = ([] for _ in range(6))
    for source, verdicts in answers.verdicts.items():
        truth = answers.roles[source]
        for one in verdicts:
            if one.candidates_set:
                covered.append(truth in one.candidates_set)
                sizes.append(len(one.candidates_set))
            if not answers.is_known(source):
                rejected.append(one.label in (UNKNOWN, REAL))
                continue
            named.append(truth in (one.family or (one.label,)))
            family.append(bool(one.family))
            if one.family:
                family_right.append(truth in one.family)
    return Reported(
        named=_percentage(named),
        family=_percentage(family),
        family_right=_percentage(family_right),
        rejected=_percentage(rejected),
        coverage=_percentage(covered),
        set_size=fmean(sizes) if sizes else None,
    )


def confusion_from_judged(answers: Judged) -> dict[str, dict[str, int]]:
    """Return how often each source's queries were given each label."""
    none = dict.fromkeys((*answers.candidates, UNKNOWN, REAL), 0)
    return {
        source: none | Counter(one.label for one in verdicts)
        for source, verdicts in answers.verdicts.items()
    }


def cost_from_rows(rows: Sequence[RawScores]) -> Cost:
    """Return what a verdict costs when nothing is in a cache."""
    fresh = timed_rows(rows)
    names = dict.fromkeys(name for row in fresh for name in row.stages)
    stages = {name: [row.stages.get(name, NO_STAGE) for row in fresh] for name in names}
    graphs = sorted({name for row in fresh for name in row.graph_runs})
    return Cost(
        images=len(fresh),
        seconds=fmean(row.seconds for row in fresh) if fresh else None,
        stage_seconds={
            name: fmean(one.ms for one in found) / 1e3 for name, found in stages.items()
        },
        calls={name: fmean(one.calls for one in found) for name, found in stages.items()},
        graph_runs={name: fmean(row.graph_runs.get(name, 0) for row in fresh) for name in graphs},
    )


def seconds_at_gamma(rows: Sequence[RawScores], share: float) -> float | None:
    """Return the seconds per image with a share of the resyntheses.

    Text is encoded once per candidate and the query is embedded once, so the stages of pictures
    grow in proportion to the pictures, and the text encoder does not grow at all.
    """
    fresh = timed_rows(rows)
    if not fresh:
        return None
    return fmean(row.seconds - (1 - share) * _picture_seconds(row) for row in fresh)


def peak_memory_mib() -> float | None:
    """Return the most memory that this process ever held, in MiB; None where nothing tells."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _sets(
    rows: Sequence[RawScores],
    roles: Mapping[str, str],
    judge: Judge,
    gamma: int | None,
    fused: AttributionFigures,
) -> dict[str, AttributionFigures]:
    """Return the figures of every set of evidences; those of all together are known."""
    names = evidence_names(rows)
    return {
        ALL.join(chosen): fused
        if size == len(names)
        else figures_from_judged(judged(rows, roles, judge, names=chosen, gamma=gamma))
        for size in range(1, len(names) + 1)
        for chosen in combinations(names, size)
    }


def _picture_seconds(row: RawScores) -> float:
    """Return the time that was spent on resyntheses, in seconds."""
    total_ms = sum(
        row.stages[name].ms
        for name in (GENERATE, PIXELS, FINGERPRINTS_OF_PICTURES)
        if name in row.stages
    )
    encoder = row.stages.get(ENCODE)
    if encoder is not None and encoder.items:
        total_ms += encoder.ms * (encoder.items - 1) / encoder.items  # one of them is the query
    return total_ms / 1e3


def _percentage(values: Sequence[bool]) -> float | None:
    return PERCENT * fmean(values) if values else None
