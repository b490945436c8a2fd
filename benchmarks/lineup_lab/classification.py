"""Closed-set and open-set classification: which of the known sources made this image, if any?

A part of each known source, its support, fits a classifier; the other images are queries. The
answer to a query is its most probable known class, and the probability of that class says how
known the query looks. Photographs are a known class called `real`, as in the published splits.

    accuracy        share of the known sources' queries that get their class
    top3            share of them with their class among the three most probable
    auroc_unknown   AUC of known against unknown queries, by the probability of the answer
    oscr            the same, where a known query counts only when its class is right

All figures are in percent, over queries, with 95 % bootstrap intervals: every source's queries are
resampled, the classifier stays. Leaving one out makes each generator the unknown in turn and takes
the mean over these rounds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from lineup.errors import UsageError
from lineup.gallery.support import REAL_NAME
from lineup.types import Float32Array, Float64Array
from lineup_lab.dataset import (
    LabelledSource,
    ProtocolOptions,
    Split,
    check_names,
    splits_of_sources,
)
from lineup_lab.fit_classifier import Fit
from lineup_lab.metrics import (
    Answers,
    Figures,
    answers_from_probabilities,
    bootstrap_counts,
    bootstrap_interval,
    figures_from_answers,
    resampled_figures,
)

MIN_KNOWN = 2


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """One source's part.

    Attributes:
        known: Whether the classifier was fitted on it; when every source is left out in turn,
            whether it was known in all rounds.
        figures: Of a known source, accuracy and top3 of its own queries; of an unknown one, oscr
            and auroc_unknown of all known queries against its own. When every source is left out
            in turn, all figures of the round in which it was unknown.
        queries: Number of its queries.
    """

    known: bool
    figures: Figures
    queries: int


@dataclass(frozen=True, slots=True)
class ClassificationResult:
    """The outcome of a protocol.

    Attributes:
        figures: Over all queries.
        intervals: 95 % bootstrap interval of each figure that there is.
        per_source: Part of each source.
        confusion: Queries of each source per answer, as confusion[source][class].
        splits: Support and queries per source.
        rounds: Outcome per left-out source; empty unless each is left out in turn.
    """

    figures: Figures
    intervals: Mapping[str, tuple[float, float]]
    per_source: Mapping[str, SourceFigures]
    confusion: Mapping[str, Mapping[str, int]]
    splits: Mapping[str, Split]
    rounds: Mapping[str, ClassificationResult]

    @property
    def query_count(self) -> int:
        """Number of queries over all sources."""
        return sum(len(split.queries) for split in self.splits.values())


def class_of(name: str, real: Sequence[str]) -> str:
    """Return the class of a source: its own, or `real` for photographs."""
    return REAL_NAME if name in real else name


def checked_unknown(
    names: Sequence[str], unknown: Sequence[str], real: Sequence[str]
) -> tuple[str, ...]:
    """Return the unknown sources, each once.

    Raises:
        UsageError: A name is not among `names`, a source is both unknown and real, or fewer than
            two known classes are left.
    """
    check_names("--unknown", unknown, names)
    check_names("--real", real, names)
    both = [name for name in unknown if name in real]
    if both:
        raise UsageError(
            f"{both[0]!r} is both --unknown and --real.",
            hint="Photographs of --real are a known class; leave one of the two away.",
        )
    classes = {class_of(name, real) for name in names if name not in unknown}
    if len(classes) < MIN_KNOWN:
        raise UsageError(
            f"{len(classes)} known class(es) are left, but at least {MIN_KNOWN} are needed.",
            hint="Name fewer sources with --unknown, or add folders.",
        )
    return tuple(dict.fromkeys(unknown))


def left_out_sources(names: Sequence[str], real: Sequence[str]) -> tuple[str, ...]:
    """Return the sources that are left out in turn: all but the photographs.

    Raises:
        UsageError: See `checked_unknown`.
    """
    left_out = tuple(name for name in names if name not in real)
    for name in left_out:
        checked_unknown(names, [name], real)
    if not left_out:
        raise UsageError("Every source is --real, so that there is none to leave out.")
    return left_out


def classes_from_sources(
    sources: Mapping[str, Float32Array], real: Sequence[str]
) -> dict[str, Float32Array]:
    """Return the fingerprints per class, (N, D) float32: one per source, photographs as `real`."""
    parts: dict[str, list[Float32Array]] = {}
    for name, rows in sources.items():
        parts.setdefault(class_of(name, real), []).append(rows)
    return {name: np.concatenate(rows) for name, rows in parts.items()}


def classification_from_sources(
    sources: Sequence[LabelledSource],
    options: ProtocolOptions,
    fit: Fit,
    *,
    unknown: Sequence[str] = (),
) -> ClassificationResult:
    """Run the closed-set protocol or, with unknown sources, the open-set protocol.

    Raises:
        UsageError: Names or sizes do not fit; see `checked_unknown` and `splits_of_sources`.
    """
    left_out = checked_unknown([source.name for source in sources], unknown, options.real)
    splits = splits_of_sources(sources, options.support, options.seed)
    answers = _answers(sources, splits, options.real, left_out, fit)
    samples = _resamples([answers], splits, options)
    return _result(answers, samples, splits)


def leave_one_out_from_sources(
    sources: Sequence[LabelledSource],
    options: ProtocolOptions,
    fit: Fit,
) -> ClassificationResult:
    """Run the open-set protocol with each generator in turn as the unknown source.

    Raises:
        UsageError: Names or sizes do not fit.
    """
    left_out = left_out_sources([source.name for source in sources], options.real)
    splits = splits_of_sources(sources, options.support, options.seed)
    answers = {name: _answers(sources, splits, options.real, [name], fit) for name in left_out}
    rounds = {
        name: _result(own, _resamples([own], splits, options), splits)
        for name, own in answers.items()
    }
    samples = _resamples(list(answers.values()), splits, options)
    return ClassificationResult(
        figures=_mean([one.figures for one in rounds.values()]),
        intervals=_intervals(samples),
        per_source={source.name: _part_in_rounds(source.name, rounds) for source in sources},
        confusion=_summed_confusion([one.confusion for one in rounds.values()]),
        splits=splits,
        rounds=rounds,
    )


def _answers(
    sources: Sequence[LabelledSource],
    splits: Mapping[str, Split],
    real: Sequence[str],
    unknown: Sequence[str],
    fit: Fit,
) -> dict[str, Answers]:
    """Fit on the known sources' support and answer every source's queries."""
    known = {
        source.name: source.fingerprints[splits[source.name].support]
        for source in sources
        if source.name not in unknown
    }
    supports = classes_from_sources(known, real)
    classify, classes = fit(supports), tuple(supports)
    return {
        source.name: answers_from_probabilities(
            classify(source.fingerprints[splits[source.name].queries]),
            classes,
            None if source.name in unknown else class_of(source.name, real),
        )
        for source in sources
    }


def _resamples(
    rounds: Sequence[Mapping[str, Answers]],
    splits: Mapping[str, Split],
    options: ProtocolOptions,
) -> Mapping[str, Float64Array]:
    """Return each figure's mean over the rounds in every bootstrap resample, (resamples,).

    A resample draws each source's queries once, for all rounds.
    """
    sizes = {name: len(split.queries) for name, split in splits.items()}
    blocks = []
    for counts in bootstrap_counts(sizes, seed=options.seed, resamples=options.resamples):
        each = [resampled_figures(answers, counts) for answers in rounds]
        blocks.append({key: np.mean([one[key] for one in each], axis=0) for key in each[0]})
    return {key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}


def _result(
    answers: Mapping[str, Answers],
    samples: Mapping[str, Float64Array],
    splits: Mapping[str, Split],
) -> ClassificationResult:
    known = {name: one for name, one in answers.items() if one.is_known}
    per_source = {}
    for name, one in answers.items():
        own = figures_from_answers({name: one} if one.is_known else {**known, name: one})
        if not one.is_known:
            own = Figures(None, None, own.oscr, own.auroc_unknown)
        per_source[name] = SourceFigures(one.is_known, own, len(one.predicted))
    return ClassificationResult(
        figures=figures_from_answers(answers),
        intervals=_intervals(samples),
        per_source=per_source,
        confusion={name: one.counts() for name, one in answers.items()},
        splits=splits,
        rounds={},
    )


def _intervals(samples: Mapping[str, Float64Array]) -> dict[str, tuple[float, float]]:
    return {key: bootstrap_interval(values) for key, values in samples.items()}


def _part_in_rounds(name: str, rounds: Mapping[str, ClassificationResult]) -> SourceFigures:
    if name in rounds:
        own = rounds[name]
        return SourceFigures(False, own.figures, own.per_source[name].queries)
    parts = [one.per_source[name] for one in rounds.values()]
    return SourceFigures(True, _mean([part.figures for part in parts]), parts[0].queries)


def _mean(figures: Sequence[Figures]) -> Figures:
    """Return the mean of each figure; None where it is missing."""
    means: dict[str, float | None] = {}
    for key in ("accuracy", "top3", "oscr", "auroc_unknown"):
        present = [value for one in figures if (value := getattr(one, key)) is not None]
        means[key] = fmean(present) if present else None
    return Figures(**means)


def _summed_confusion(
    tables: Sequence[Mapping[str, Mapping[str, int]]],
) -> dict[str, dict[str, int]]:
    total: dict[str, Counter[str]] = {}
    for table in tables:
        for source, row in table.items():
            total.setdefault(source, Counter()).update(row)
    return {source: dict(row) for source, row in total.items()}
