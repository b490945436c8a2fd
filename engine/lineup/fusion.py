"""From log likelihood ratios to one posterior, and from the posterior to an answer.

Evidence about different aspects of an image is taken as independent, so log likelihood ratios
add. Missing evidence adds nothing: it is absent, never negative. Where a calibration knows how far
evidences depend on each other, `lineup.calibration.verdict` weighs them first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lineup.results import GENERATED, PHOTOGRAPH, REFERENCE, UNDETERMINED, Evidence, Verdict

SINGLED_OUT = 0.9
"""Share of a family's probability at which one member is named alone."""

KNOWN_PRIOR = 1 / 2
"""Prior of the candidates, shared evenly; a generator that is none of them, and a photograph, share
the rest."""

FEWEST_SHARERS = 3
"""Among so many candidates at least: one alone is not as likely as all others together."""

MOST_FOR_PHOTOGRAPH = 2.0
"""Largest log likelihood ratio of a photograph that counts: images of a generator that none of the
heads was fitted on may look much like photographs, and must not lose the name of a source that they
fit. In a posterior this is 88 % beside "generated"."""


@dataclass(frozen=True, slots=True)
class Limits:
    """From which probabilities a verdict says something; chosen on generators that were left out.

    Attributes:
        naming: Lowest of a source or family that is named: a wrong name does more harm than none.
        photograph: Highest of a photograph in an image that is called generated.
    """

    naming: float
    photograph: float


BY_FINGERPRINT = Limits(naming=0.80, photograph=0.025)
"""Where the evidence `reference` is silent (docs/evidence.md)."""

BY_REFERENCE = Limits(naming=0.88, photograph=0.05)
"""Where it speaks: it lifts the enrolled sources' own images far above the other limit, and other
images above it too, and knows photographs better."""


def prior_from_candidates(candidates: Sequence[str]) -> dict[str, float]:
    """Return the prior over candidates (there may be none), `GENERATED` and `PHOTOGRAPH`."""
    share = KNOWN_PRIOR / max(len(candidates), FEWEST_SHARERS)
    other = (1 - share * len(candidates)) / 2
    return dict.fromkeys(candidates, share) | {GENERATED: other, PHOTOGRAPH: other}


def verdict_from_evidence(
    candidates: Sequence[str],
    evidence: Sequence[Evidence],
    families: Sequence[tuple[str, ...]] = (),
) -> Verdict:
    """Fuse evidence into a verdict.

    Args:
        candidates: Every source that may be named; one without evidence keeps its prior.
        evidence: Any number of signals; a log likelihood ratio may also speak of `PHOTOGRAPH`
            and `GENERATED`, which otherwise stay at 0.
        families: Candidates that the evidence cannot tell apart; weighed together, and reported
            as a family unless one of them has `SINGLED_OUT` of their probability.

    Returns:
        The posterior, summing to 1, and a label: the most probable candidate or family that has
        `Limits.naming`, else see `none_label`.
    """
    fused = {
        name: sum(one.llr.get(name, 0.0) for one in evidence)
        for name in (*candidates, GENERATED, PHOTOGRAPH)
    }
    # A candidate's ratio is against a photograph and another generator together: what rules out the
    # one leaves all of "none of them" to the other, and speaks for no candidate.
    fused[GENERATED] += math.log(2 - math.exp(min(0.0, fused[PHOTOGRAPH])))
    logs = log_posterior_from_ratios(candidates, fused)
    posterior = {name: math.exp(value) for name, value in logs.items()}
    group = decisive_group(posterior, candidates, families, evidence=evidence)
    return Verdict(
        label=none_label(posterior, limits_from_evidence(evidence)) if group is None else group[0],
        posterior=posterior,
        evidence=tuple(evidence),
        family=() if group is None else inseparable_members(posterior, group, SINGLED_OUT),
    )


def log_posterior_from_ratios(
    candidates: Sequence[str], ratios: Mapping[str, float]
) -> dict[str, float]:
    """Return the logarithm of the posterior, which tells apart what the posterior rounds to 0.

    Args:
        candidates: Every source that may be named.
        ratios: Natural-log likelihood ratio per label; an absent one is 0.
    """
    counted = {**ratios, PHOTOGRAPH: min(ratios.get(PHOTOGRAPH, 0.0), MOST_FOR_PHOTOGRAPH)}
    logs = {
        name: math.log(weight) + counted.get(name, 0.0)
        for name, weight in prior_from_candidates(candidates).items()
    }
    peak = max(logs.values())  # subtracted so that exp cannot overflow
    total = peak + math.log(sum(math.exp(value - peak) for value in logs.values()))
    return {name: value - total for name, value in logs.items()}


def limits_from_evidence(
    evidence: Iterable[Evidence], about: Sequence[str] | None = None
) -> Limits:
    """Return the limits that hold for such evidence.

    Args:
        evidence: Any number of signals.
        about: The candidates in question: what the reference says of others moves no limit of
            theirs. None asks about the image.
    """
    speaks = any(
        one.name == REFERENCE and (one.llr if about is None else one.llr.keys() & set(about))
        for one in evidence
    )
    return BY_REFERENCE if speaks else BY_FINGERPRINT


def decisive_group(
    posterior: Mapping[str, float],
    candidates: Sequence[str],
    families: Sequence[tuple[str, ...]] = (),
    *,
    evidence: Sequence[Evidence] = (),
) -> tuple[str, ...] | None:
    """Return the most probable candidate or family, if it may be named.

    Args:
        posterior: Probability per label.
        candidates: Every source that may be named.
        families: Candidates that are weighed together; no candidate is in two of them.
        evidence: What the posterior comes from, and with it how probable the group has to be.

    Returns:
        Its members, most probable first; None where they are less probable.
    """
    in_family = {name for members in families for name in members}
    groups = [*families, *((name,) for name in candidates if name not in in_family)]
    best = max(groups, key=lambda group: _mass(posterior, group), default=())
    if not best or _mass(posterior, best) < limits_from_evidence(evidence, best).naming:
        return None
    return tuple(sorted(best, key=lambda name: -posterior[name]))


def inseparable_members(
    posterior: Mapping[str, float], group: Sequence[str], share: float
) -> tuple[str, ...]:
    """Return the group when its best member does not stand out, else nothing.

    Args:
        posterior: Probability per label.
        group: A decisive group, most probable member first.
        share: Of the group's probability, which the best member has where it stands out.
    """
    best = posterior[group[0]] / sum(posterior[name] for name in group)
    return tuple(group) if len(group) > 1 and best < share else ()


def none_label(posterior: Mapping[str, float], limits: Limits) -> str:
    """Return the label where no candidate is named; nothing speaks well enough for a photograph."""
    return GENERATED if posterior[PHOTOGRAPH] <= limits.photograph else UNDETERMINED


def _mass(posterior: Mapping[str, float], group: Sequence[str]) -> float:
    return sum(posterior[name] for name in group)
