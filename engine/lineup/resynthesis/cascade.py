"""Cheap evidence first: which candidates still have to resynthesise an image, if any.

Fingerprints come first, in milliseconds. An image that they decide is done; of the others, only
candidates that are still plausible resynthesise it. What was left out, and why, is told in the
verdict.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lineup.errors import UsageError
from lineup.results import REAL, UNKNOWN
from lineup.resynthesis.expected import ExpectedTimes, PlannedTimes
from lineup.trace import Trace

DEFAULT_STOP_MARGIN = 0.9
"""Probability by which the first answer is ahead of the second when an image is decided."""

DEFAULT_FLOOR = 0.01
"""Posterior below which a candidate is no longer plausible."""


@dataclass(frozen=True, slots=True)
class CascadeOptions:
    """When evidence is left out.

    Attributes:
        stop_margin: An image is decided when its first answer (a candidate, or none of them) is
            ahead of the second by this, above 0 and at most 1; None lets every candidate
            resynthesise.
        floor: A candidate whose posterior is lower does not resynthesise, 0..1.
        latency_budget_s: Seconds per image, loading of models left out: evidence that is expected
            to exceed it is not computed; None is no limit.

    Raises:
        UsageError: A number is out of its range.
    """

    stop_margin: float | None = DEFAULT_STOP_MARGIN
    floor: float = DEFAULT_FLOOR
    latency_budget_s: float | None = None

    def __post_init__(self) -> None:
        margin, budget = self.stop_margin, self.latency_budget_s
        if margin is not None and not 0 < margin <= 1:
            raise UsageError(f"The stop margin is {margin:g}, expected above 0 and at most 1.")
        if not 0 <= self.floor <= 1:
            raise UsageError(f"The floor is {self.floor:g}, expected 0 to 1.")
        if budget is not None and not 0 < budget < math.inf:
            raise UsageError(f"The latency budget is {budget:g} s, expected above 0.")


@dataclass(frozen=True, slots=True)
class Step:
    """What comes after the fingerprint.

    Attributes:
        candidates: Who resynthesises the image; nobody when it is decided.
        notes: What is left out, and why.
    """

    candidates: tuple[str, ...]
    notes: tuple[str, ...] = ()


def margin_from_posterior(posterior: Mapping[str, float]) -> float:
    """Return by how much the most probable answer is ahead of the second, 0..1.

    An answer is a candidate or "none of them" (unknown and real together): resyntheses
    cannot tell those two apart, so a tie between them is no reason to make any.
    """
    none_of_them = posterior[UNKNOWN] + posterior[REAL]
    others = [value for name, value in posterior.items() if name not in (UNKNOWN, REAL)]
    second, first = sorted([0.0, *others, none_of_them])[-2:]
    return first - second


def step_from_posterior(
    posterior: Mapping[str, float],
    able: Sequence[str],
    options: CascadeOptions,
    families: Mapping[str, str] | None = None,
) -> Step:
    """Return who resynthesises an image after its fingerprint.

    Args:
        posterior: By the fingerprint, over candidates, unknown and real.
        able: The candidates that can resynthesise.
        options: When evidence is left out.
        families: VAE family per candidate, for those that have one.
    """
    if options.stop_margin is None:
        return Step(tuple(able))
    margin = margin_from_posterior(posterior)
    if margin >= options.stop_margin:
        return Step(
            (),
            (
                f"resynthesis skipped: decided by the fingerprint, {margin:.2f} ahead of the next "
                f"(stops from {options.stop_margin:g} on)",
            ),
        )
    ranked = sorted(able, key=lambda name: -posterior[name])
    plausible = [name for name in ranked if posterior[name] >= options.floor]
    if not plausible:
        note = f"resynthesis skipped: no candidate that can resynthesise reaches {options.floor:g}"
        return Step((), (note,))
    chosen = set(_with_company(plausible, ranked, families or {}))
    dropped = [name for name in able if name not in chosen]
    notes = (
        (f"not resynthesised by {', '.join(dropped)}: below {options.floor:g} by the fingerprint",)
        if dropped
        else ()
    )
    return Step(tuple(name for name in able if name in chosen), notes)


def _with_company(
    plausible: Sequence[str], ranked: Sequence[str], families: Mapping[str, str]
) -> list[str]:
    """Return the plausible candidates and, when all are siblings, the next of another family.

    How close one comes is judged beside the others, and siblings all come close: without a
    stranger among them none would stand out.
    """
    known = {families.get(name, name) for name in plausible}
    strangers = [name for name in ranked if families.get(name, name) not in known]
    company = strangers[:1] or [name for name in ranked if name not in plausible][:1]
    return [*plausible, *(company if len(known) == 1 else ())]


def step_within_budget(
    step: Step, options: CascadeOptions, *, spent_ms: float, expected_ms: float | None
) -> Step:
    """Return the step, or nothing to do when it is expected to exceed the latency budget.

    Args:
        step: What would come next.
        options: When evidence is left out.
        spent_ms: What the image took so far.
        expected_ms: What the step will take; None when that is not known, and it is tried.
    """
    budget_s = options.latency_budget_s
    if budget_s is None or expected_ms is None or not step.candidates:
        return step
    if spent_ms + expected_ms <= budget_s * 1e3:
        return step
    note = (
        f"resynthesis skipped: {spent_ms:.0f} ms spent and {expected_ms:.0f} ms expected, "
        f"the latency budget is {budget_s * 1e3:.0f} ms"
    )
    return Step((), (note,))


class Cascade:
    """Decides image by image, and follows what resynthesis takes.

    Args:
        names: The candidates that resynthesise here; stored resyntheses of others cost nothing.
        families: VAE family per candidate, for those that have one.
        planned: Returns what models are said to take; asked when there is a latency budget.
    """

    def __init__(
        self,
        names: Sequence[str],
        families: Mapping[str, str] | None = None,
        planned: Callable[[], PlannedTimes | None] = lambda: None,
    ) -> None:
        self._planned = planned
        self._names = tuple(names)
        self._families = dict(families or {})
        self._expected: ExpectedTimes | None = None

    def step(
        self,
        posterior: Mapping[str, float],
        able: Sequence[str],
        options: CascadeOptions,
        *,
        spent_ms: float,
        gamma: int,
    ) -> Step:
        """Return who resynthesises an image after its fingerprint.

        Args:
            posterior: By the fingerprint, over candidates, unknown and real.
            able: The candidates that have resyntheses, made here or stored.
            options: When evidence is left out.
            spent_ms: What the image took so far.
            gamma: Resyntheses per candidate.
        """
        step = step_from_posterior(posterior, able, options, self._families)
        if options.latency_budget_s is None:
            return step
        expected_ms = self._times().expected_ms(self._own(step.candidates), gamma)
        return step_within_budget(step, options, spent_ms=spent_ms, expected_ms=expected_ms)

    def learn(
        self,
        options: CascadeOptions,
        spent: Trace,
        candidates: Sequence[str],
        gamma: int,
    ) -> None:
        """Take account of a resynthesis that was made; without a budget nobody asks."""
        if options.latency_budget_s is not None:
            self._times().learn(spent, self._own(candidates), gamma)

    def _own(self, candidates: Sequence[str]) -> list[str]:
        return [name for name in candidates if name in self._names]

    def _times(self) -> ExpectedTimes:
        if self._expected is None:
            self._expected = ExpectedTimes(self._planned())
        return self._expected
