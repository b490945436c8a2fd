"""Cheap evidence first: which candidates still have to resynthesise an image, if any.

Fingerprints come first, in milliseconds. An image that they decide is done; of the others, only
candidates that are still plausible resynthesise it. What was left out, and why, is told in the
verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from lineup.options import CascadeOptions
from lineup.results import GENERATED, PHOTOGRAPH
from lineup.trace import CAPTION, ENCODE, FINGERPRINT, GENERATE, LOAD, PIXELS, TEXT, Trace

LOOK_STAGES = (ENCODE, FINGERPRINT, PIXELS)
MAKE_STAGES = (TEXT, GENERATE)


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

    An answer is a candidate or "none of them" (generated and photograph together): resyntheses
    cannot tell those two apart, so a tie between them is no reason to make any.
    """
    none_of_them = posterior[GENERATED] + posterior[PHOTOGRAPH]
    others = [value for name, value in posterior.items() if name not in (GENERATED, PHOTOGRAPH)]
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
        posterior: By the fingerprint, over candidates, generated and photograph.
        able: The candidates that can resynthesise.
        options: When evidence is left out.
        families: VAE family per candidate, for those that have one.
    """
    if options.stop_margin is None:
        return Step(tuple(able))
    margin = margin_from_posterior(posterior)
    if margin >= options.stop_margin:
        note = (
            f"resynthesis skipped: decided by the fingerprint, {margin:.2f} ahead of the next "
            f"(stops from {options.stop_margin:g} on)"
        )
        return Step((), (note,))
    ranked = sorted(able, key=lambda name: -posterior[name])
    plausible = [name for name in ranked if posterior[name] >= options.floor]
    if not plausible:
        note = f"resynthesis skipped: no candidate that can resynthesise reaches {options.floor:g}"
        return Step((), (note,))
    chosen = _with_company(plausible, ranked, families or {})
    kept = tuple(name for name in able if name in chosen)
    dropped = ", ".join(name for name in able if name not in chosen)
    note = f"not resynthesised by {dropped}: below {options.floor:g} by the fingerprint"
    return Step(kept, (note,) if dropped else ())


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


@dataclass(frozen=True, slots=True)
class PlannedTimes:
    """What the bundles say, by the machine that exported them.

    Attributes:
        caption_ms: For the query's caption.
        resynthesis_ms: For one resynthesis, per candidate that can make it.
        look_ms: For features and fingerprint of one resynthesis.
    """

    caption_ms: float = 0.0
    resynthesis_ms: Mapping[str, float] = field(default_factory=dict)
    look_ms: float = 0.0


class ExpectedTimes:
    """The expected time of a resynthesis; every one that was measured corrects it.

    Candidates differ as the bundles say they do; what is measured scales them together. Times of
    loading models are left out: they come once.

    Args:
        planned: What the bundles say; None when they say nothing.
    """

    def __init__(self, planned: PlannedTimes | None = None) -> None:
        self._planned = planned
        self._caption = _Mean()
        self._resyntheses = _Mean()
        self._looks = _Mean()

    def expected_ms(self, candidates: Sequence[str], gamma: int) -> float | None:
        """Return the expected time of one query; None as long as nothing is known."""
        planned = self._planned or PlannedTimes()
        if self._planned is None and not self._resyntheses.weight:
            return None
        resyntheses = gamma * sum(self._weight(name) for name in candidates)
        looks = 1 + gamma * len(candidates)
        return (
            self._caption.value(planned.caption_ms)
            + resyntheses * self._resyntheses.value(1.0)
            + looks * self._looks.value(planned.look_ms)
        )

    def learn(self, spent: Trace, candidates: Sequence[str], gamma: int) -> None:
        """Take account of a resynthesis that was made; cached resyntheses are no measure."""
        caption, made = spent.stage(CAPTION), spent.stage(GENERATE)
        if caption.items:
            self._caption.add(caption.seconds * 1e3, caption.items)
        if made.items and not made.cached:
            loading = spent.graphs[LOAD].seconds if LOAD in spent.graphs else 0.0
            seconds = sum(spent.stage(name).seconds for name in MAKE_STAGES) - loading
            weight = gamma * sum(self._weight(name) for name in candidates)
            self._resyntheses.add(seconds * 1e3, weight)
        looks = max(spent.stage(name).items for name in LOOK_STAGES)
        if looks and not any(spent.stage(name).cached for name in LOOK_STAGES):
            self._looks.add(sum(spent.stage(name).seconds for name in LOOK_STAGES) * 1e3, looks)

    def _weight(self, candidate: str) -> float:
        """Return the time of a resynthesis as planned; if nothing is, candidates are alike."""
        return 1.0 if self._planned is None else self._planned.resynthesis_ms[candidate]


class _Mean:
    """A weighted running mean."""

    def __init__(self) -> None:
        self.weight = 0.0
        self._total = 0.0

    def add(self, total: float, weight: float) -> None:
        self._total += total
        self.weight += weight

    def value(self, default: float) -> float:
        return self._total / self.weight if self.weight else default


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

    def step(
        self,
        posterior: Mapping[str, float],
        able: Sequence[str],
        options: CascadeOptions,
        *,
        spent_ms: float,
        gamma: int,
    ) -> Step:
        """Return who resynthesises an image; see `step_from_posterior`, `step_within_budget`."""
        step = step_from_posterior(posterior, able, options, self._families)
        if options.latency_budget_s is None:
            return step
        expected_ms = self._times.expected_ms(self._own(step.candidates), gamma)
        return step_within_budget(step, options, spent_ms=spent_ms, expected_ms=expected_ms)

    def learn(
        self, options: CascadeOptions, spent: Trace, candidates: Sequence[str], gamma: int
    ) -> None:
        """Take account of a resynthesis that was made; without a budget nobody asks."""
        if options.latency_budget_s is not None:
            self._times.learn(spent, self._own(candidates), gamma)

    def _own(self, candidates: Sequence[str]) -> list[str]:
        return [name for name in candidates if name in self._names]

    @cached_property
    def _times(self) -> ExpectedTimes:
        return ExpectedTimes(self._planned())
