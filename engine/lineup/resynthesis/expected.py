"""How long a query's resynthesis will take: by the bundles' own figures, then as measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lineup.trace import CAPTION, ENCODE, FINGERPRINT, GENERATE, LOAD, PIXELS, TEXT, Trace

LOOK_STAGES = (ENCODE, FINGERPRINT, PIXELS)
MAKE_STAGES = (TEXT, GENERATE)


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
