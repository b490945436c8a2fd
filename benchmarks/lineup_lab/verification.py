"""Image-to-model verification: was this image made by this source, or by another one?

For each target T, a support set of T's images; the score of a query q is the mean over the support
of cosine(z_q, z_s), or what another rule makes of these cosines. For each ordered pair (T, U) the
AUC of T's queries against U's queries. A target's figures are over all U, the overall figure is the
mean over targets. All AUCs here are in percent. Queries may be attacked; the support stays clean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from lineup.errors import UsageError
from lineup.imaging.operations import Operation
from lineup.stream import DEFAULT_STREAM, StreamedImage
from lineup.types import Float32Array, Float64Array
from lineup_lab.attacks import AttackedExtractor
from lineup_lab.dataset import (
    LabelledSource,
    ProtocolOptions,
    Split,
    TileFingerprinter,
    check_names,
    fingerprints_from_paths,
    splits_of_sources,
)
from lineup_lab.metrics import (
    PERCENT,
    auc,
    bootstrap_counts,
    bootstrap_interval,
    resampled_aucs,
)

NEIGHBOURS = 5


class ScoreRule(str, Enum):
    """How the cosines of a query with a support set become one score."""

    MEAN = "mean"
    """The mean over the support; what the engine does."""

    MAX = "max"
    """The cosine with the nearest fingerprint of the support."""

    KNN = "knn"
    """The mean of the cosines with the five nearest."""

    PROTOTYPE = "prototype"
    """The cosine with the mean of the support."""


@dataclass(frozen=True, slots=True)
class VerificationResult:
    """The outcome of the protocol.

    Attributes:
        targets: Per target, in the order of the sources: `auc_mean` over the other sources,
            `auc_sd`, the sample standard deviation (ddof=1) over them or None when there is only
            one, and `auc_min`, all in percent.
        pairs: AUC in percent of T's queries against U's, as pairs[T][U].
        auc_mean: Mean over the targets' means, percent.
        auc_ci: 95 % bootstrap interval of `auc_mean` over queries; the support stays as drawn.
        splits: Support and queries per source, real ones included.
    """

    targets: Mapping[str, dict[str, Any]]
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
    check_names("--real", real, names)
    targets = tuple(name for name in names if name not in real)
    if not targets:
        raise UsageError(
            "Every source is --real, so that there is no target to verify.",
            hint="Leave --real away for at least one source.",
        )
    return targets


def verification_from_sources(
    sources: Sequence[LabelledSource],
    options: ProtocolOptions,
    *,
    rule: ScoreRule = ScoreRule.MEAN,
    queries: Mapping[str, Float32Array] | None = None,
) -> VerificationResult:
    """Run the protocol; real sources are only negatives, never targets.

    `queries` are fingerprints of every source's queries, shape (Q, D), such as those of attacked
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
    scores = _scores_per_target({name: supports[name] for name in targets}, queries, rule)
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
        auc_mean=float(np.mean([result["auc_mean"] for result in results.values()])),
        auc_ci=bootstrap_interval(means),
        splits=splits,
    )


def attacked_queries(
    sources: Sequence[LabelledSource],
    splits: Mapping[str, Split],
    attack: Operation,
    extractor: TileFingerprinter,
    *,
    batch: int = DEFAULT_STREAM.group_images,
    on_file: Callable[[StreamedImage], None] = lambda _: None,
) -> tuple[dict[str, Float32Array], list[StreamedImage]]:
    """Fingerprint the queries of every source after an attack; support images are not touched.

    Returns:
        Fingerprints per source, shape (Q, D), float32, in the order of the split's queries, and the
        queries that could not be used any more; they have no row.

    Raises:
        UsageError: No query of a source is usable after the attack.
        BackendError: The model failed.
    """
    owners = [source.name for source in sources for _ in splits[source.name].queries]
    paths = (source.paths[row] for source in sources for row in splits[source.name].queries)
    rows: dict[str, list[Float32Array]] = {source.name: [] for source in sources}
    failures = []
    answers = fingerprints_from_paths(paths, AttackedExtractor(extractor, attack), batch=batch)
    for name, (image, fingerprint) in zip(owners, answers, strict=True):
        if fingerprint is None:
            failures.append(image)
        else:
            rows[name].append(fingerprint)
        on_file(image)
    for name, usable in rows.items():
        if not usable:
            raise UsageError(
                f"No query of source {name!r} is usable after the attack {attack}.",
                hint="Choose a weaker attack.",
            )
    return {name: np.stack(usable) for name, usable in rows.items()}, failures


def scores_from_support(
    queries: Float64Array, support: Float32Array, rule: ScoreRule
) -> Float64Array:
    """Return one score per query, shape (Q,), -1..1.

    Args:
        queries: Shape (Q, D), float64, rows L2-normalised.
        support: Fingerprints of one source, shape (N, D), N at least 1, rows L2-normalised.
        rule: How cosines become one score.
    """
    rows = support.astype(np.float64)
    if rule in (ScoreRule.MEAN, ScoreRule.PROTOTYPE):
        mean = rows.mean(axis=0)
        # Opposite fingerprints cancel; a mean without a direction scores 0.
        length = np.linalg.norm(mean) if rule is ScoreRule.PROTOTYPE else 1.0
        return np.asarray(queries @ mean / max(length, np.finfo(np.float64).tiny))
    nearest = min(1 if rule is ScoreRule.MAX else NEIGHBOURS, len(rows))
    cosines = np.partition(queries @ rows.T, -nearest, axis=1)
    return np.asarray(cosines[:, -nearest:].mean(axis=1))


def bootstrap_means(
    scores: Mapping[str, Mapping[str, Float64Array]], *, seed: int, resamples: int
) -> Float64Array:
    """Return the overall mean AUC in every resample of every source's queries, (resamples,).

    A resample draws each source's queries once, so a query counts equally often in all the pairs
    that it takes part in. `scores[T][U]` are those of U's queries against T's support, (Q_U,).
    """
    sizes = {name: len(values) for name, values in next(iter(scores.values())).items()}
    means = [np.empty(0)]
    for counts in bootstrap_counts(sizes, seed=seed, resamples=resamples):
        per_target = [
            np.mean(
                [
                    resampled_aucs(own[target], own[other], counts[target], counts[other])
                    for other in own
                    if other != target
                ],
                axis=0,
            )
            for target, own in scores.items()
        ]
        means.append(np.mean(per_target, axis=0))
    return np.concatenate(means)


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


def _target_result(aucs: Mapping[str, float]) -> dict[str, Any]:
    values = np.array(list(aucs.values()))
    return {
        "auc_mean": float(values.mean()),
        "auc_sd": float(values.std(ddof=1)) if len(values) > 1 else None,
        "auc_min": float(values.min()),
    }
