"""From log likelihood ratios to one posterior.

Evidence about different aspects of an image is taken as independent, so log likelihood ratios
add. Missing evidence adds nothing: it is absent, never negative.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lineup.results import REAL, UNKNOWN, Evidence, Verdict

ORIGIN_PRIOR = 1 / 3
"""Prior of each origin: one of the candidates (shared evenly), an unknown one, a photograph."""


def prior_from_candidates(candidates: Sequence[str]) -> dict[str, float]:
    """Return the prior over candidates, `UNKNOWN` and `REAL`; without candidates, over the two."""
    if not candidates:
        return {UNKNOWN: 0.5, REAL: 0.5}
    share = ORIGIN_PRIOR / len(candidates)
    return dict.fromkeys(candidates, share) | {UNKNOWN: ORIGIN_PRIOR, REAL: ORIGIN_PRIOR}


def verdict_from_evidence(candidates: Sequence[str], evidence: Sequence[Evidence]) -> Verdict:
    """Fuse evidence into a verdict.

    Args:
        candidates: Every source that may be named; one without evidence keeps its prior.
        evidence: Any number of signals; a log likelihood ratio may also speak of `REAL` and
            `UNKNOWN`, which otherwise stay at 0.

    Returns:
        The posterior, summing to 1, and a label: the most probable candidate where it outweighs
        "none of them" (unknown and real together), else the likelier of those two. On a tie it is
        unknown: a photograph is claimed only on evidence for it.
    """
    prior = prior_from_candidates(candidates)
    logs = {
        name: math.log(weight) + sum(one.llr.get(name, 0.0) for one in evidence)
        for name, weight in prior.items()
    }
    posterior = _normalised(logs)
    label = _label_from_posterior(posterior, candidates)
    return Verdict(label=label, posterior=posterior, evidence=tuple(evidence))


def _label_from_posterior(posterior: Mapping[str, float], candidates: Sequence[str]) -> str:
    none_of_them = posterior[UNKNOWN] + posterior[REAL]
    best = max(candidates, key=posterior.__getitem__, default=UNKNOWN)
    if candidates and posterior[best] > none_of_them:
        return best
    return REAL if posterior[REAL] > posterior[UNKNOWN] else UNKNOWN


def _normalised(logs: Mapping[str, float]) -> dict[str, float]:
    peak = max(logs.values())  # subtracted so that exp cannot overflow
    weights = {name: math.exp(value - peak) for name, value in logs.items()}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
