"""Image-to-model verification: was this image made by this source, or by another one?

For each target T, a support set of T's images; the score of a query q is the mean over the support
of cosine(z_q, z_s), or what another rule makes of these cosines. For each ordered pair (T, U) the
AUC of T's queries against U's queries. A target's figures are over all U, the overall figure is the
mean over targets. All AUCs here are in percent. Queries may be attacked; the support stays clean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lineup.errors import UsageError
from lineup.types import Float32Array
from lineup_lab.evaluation.dataset import LabelledSource
from lineup_lab.evaluation.metrics import (
    Float64Array,
    auc,
    bootstrap_interval,
    resample_counts,
    resampled_aucs,
)
from lineup_lab.evaluation.rules import ScoreRule, scores_from_support
from lineup_lab.evaluation.splits import Split, SupportSize, splits_of_sources

PERCENT = 100.0
HALF = SupportSize(0.5, is_share=True)
DEFAULT_RESAMPLES = 1000
COUNTS_PER_BLOCK = 4_000_000
"""Bootstrap counts held at once (int64): 32 MB, however many queries there are."""


@dataclass(frozen=True, slots=True)
class VerificationOptions:
    """Options of the verification protocol.

    Attributes:
        support: Size of each support set.
        seed: Seed of the splits and of the bootstrap.
        real: Sources that are only negatives, never targets (photographs).
        resamples: Bootstrap resamples of the queries.
        rule: How a query's cosines with a support set become one score.
    """

    support: SupportSize = HALF
    seed: int = 0
    real: tuple[str, ...] = ()
    resamples: int = DEFAULT_RESAMPLES
    rule: ScoreRule = ScoreRule.MEAN


@dataclass(frozen=True, slots=True)
class TargetResult:
    """How well one source's images are told from every other source's.

    Attributes:
        auc_mean: Mean AUC over the other sources, percent.
        auc_sd: Sample standard deviation (ddof=1) over them; None when there is only one.
        auc_min: Lowest AUC, percent.
        hardest: The source at which `auc_min` was reached.
    """

    auc_mean: float
    auc_sd: float | None
    auc_min: float
    hardest: str


@dataclass(frozen=True, slots=True)
class VerificationResult:
    """The outcome of the protocol.

    Attributes:
        targets: Figures per target, in the order of the sources.
        pairs: AUC in percent of T's queries against U's, as pairs[T][U].
        auc_mean: Mean over the targets' means, percent.
        auc_ci: 95 % bootstrap interval of `auc_mean` over queries; the support stays as drawn.
        splits: Support and queries per source, real ones included.
    """

    targets: Mapping[str, TargetResult]
    pairs: Mapping[str, Mapping[str, float]]
    auc_mean: float
    auc_ci: tuple[float, float]
    splits: Mapping[str, Split]

    @property
    def query_count(self) -> int:
        """Number of queries over all sources."""
        return sum(len(split.queries) for split in self.splits.values())


def targets_from_names(names: Sequence[str], real: Sequence[str]) -> tuple[str, ...]:
    """Return the sources that are verified: all but the real ones.

    Raises:
        UsageError: A real source is not among `names`, or no target is left.
    """
    for name in real:
        if name not in names:
            raise UsageError(
                f"--real {name!r} is not among the sources.",
                hint=f"Sources: {', '.join(names)}.",
            )
    targets = tuple(name for name in names if name not in real)
    if not targets:
        raise UsageError(
            "Every source is --real, so that there is no target to verify.",
            hint="Leave --real away for at least one source.",
        )
    return targets


def verification_from_sources(
    sources: Sequence[LabelledSource],
    options: VerificationOptions,
    *,
    queries: Mapping[str, Float32Array] | None = None,
) -> VerificationResult:
    """Run the protocol.

    Args:
        sources: At least two sources with at least two images each.
        options: See `VerificationOptions`.
        queries: Fingerprints of every source's queries, shape (Q, D), such as those of attacked
            images; None takes them from `sources`, where the split puts them.

    Raises:
        UsageError: An unknown real source, no target, or a support count that leaves a source
            without queries.
    """
    targets = targets_from_names([source.name for source in sources], options.real)
    splits = splits_of_sources(sources, options.support, options.seed)
    if queries is None:
        queries = {s.name: s.fingerprints[splits[s.name].queries] for s in sources}
    supports = {s.name: s.fingerprints[splits[s.name].support] for s in sources}
    scores = _scores_per_target({name: supports[name] for name in targets}, queries, options.rule)
    pairs = {
        target: {
            other: PERCENT * auc(by_source[target], by_source[other])
            for other in by_source
            if other != target
        }
        for target, by_source in scores.items()
    }
    results = {target: _target_result(pairs[target]) for target in targets}
    means = PERCENT * bootstrap_means(scores, seed=options.seed, resamples=options.resamples)
    return VerificationResult(
        targets=results,
        pairs=pairs,
        auc_mean=float(np.mean([result.auc_mean for result in results.values()])),
        auc_ci=bootstrap_interval(means),
        splits=splits,
    )


def bootstrap_means(
    scores: Mapping[str, Mapping[str, npt.NDArray[np.float64]]], *, seed: int, resamples: int
) -> Float64Array:
    """Return the overall mean AUC in every resample of every source's queries.

    A resample draws each source's queries once, so a query counts equally often in all the pairs
    that it takes part in.

    Args:
        scores: Scores of U's queries against T's support, as scores[T][U], shape (Q_U,).
        seed: Seed of the resamples.
        resamples: Number of resamples.

    Returns:
        Fractions 0..1, shape (resamples,).
    """
    sizes = {name: len(values) for name, values in next(iter(scores.values())).items()}
    generators = np.random.default_rng(seed).spawn(len(sizes))
    block = max(1, COUNTS_PER_BLOCK // sum(sizes.values()))
    means = [np.empty(0)]
    for start in range(0, resamples, block):
        drawn = min(block, resamples - start)
        counts = {
            name: resample_counts(generator, size, drawn)
            for generator, (name, size) in zip(generators, sizes.items(), strict=True)
        }
        means.append(_resampled_means(scores, counts))
    return np.concatenate(means)


def _resampled_means(
    scores: Mapping[str, Mapping[str, npt.NDArray[np.float64]]],
    counts: Mapping[str, npt.NDArray[np.int64]],
) -> Float64Array:
    """Return the mean over targets of the mean over other sources, shape (resamples,)."""
    per_target = [
        np.mean(
            [
                resampled_aucs(by_source[target], by_source[other], counts[target], counts[other])
                for other in by_source
                if other != target
            ],
            axis=0,
        )
        for target, by_source in scores.items()
    ]
    means: Float64Array = np.mean(per_target, axis=0)
    return means


def _scores_per_target(
    supports: Mapping[str, Float32Array], queries: Mapping[str, Float32Array], rule: ScoreRule
) -> dict[str, dict[str, Float64Array]]:
    """Return the scores of U's queries against T's support, as scores[T][U]."""
    # In double precision, so that rounding makes no ties.
    wide = {name: rows.astype(np.float64) for name, rows in queries.items()}
    return {
        target: {name: scores_from_support(rows, support, rule) for name, rows in wide.items()}
        for target, support in supports.items()
    }


def _target_result(aucs: Mapping[str, float]) -> TargetResult:
    values = np.array(list(aucs.values()))
    hardest = min(aucs, key=lambda name: aucs[name])
    return TargetResult(
        auc_mean=float(values.mean()),
        auc_sd=float(values.std(ddof=1)) if len(values) > 1 else None,
        auc_min=aucs[hardest],
        hardest=hardest,
    )
