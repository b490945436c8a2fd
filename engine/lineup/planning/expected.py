"""How long a query's resynthesis will take: by the bundles' own figures, then as measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lineup import trace as cost
from lineup.bundles.bundle import Bundle, content_digest, read_bundle
from lineup.bundles.store import BundleStore
from lineup.errors import BundleFormatError
from lineup.fingerprint import DEFAULT_BUNDLE as DEFAULT_FINGERPRINT
from lineup.lineups.store import Lineup
from lineup.paths import home_dir
from lineup.planning.costs import cost_from_bundle
from lineup.trace import ResynthesisCost

LOOK_STAGES = (cost.ENCODE, cost.FINGERPRINT, cost.PIXELS)
DRAW_STAGES = (cost.TEXT, cost.GENERATE)


@dataclass(frozen=True, slots=True)
class PlannedTimes:
    """What the bundles say, by the machine that exported them.

    Attributes:
        caption_ms: For the query's caption.
        picture_ms: For one picture, per candidate that can redraw.
        look_ms: For features and fingerprint of one picture.
    """

    caption_ms: float = 0.0
    picture_ms: Mapping[str, float] = field(default_factory=dict)
    look_ms: float = 0.0


def planned_times(lineup: Lineup) -> PlannedTimes | None:
    """Return what the bundles of a lineup say; None where one of them tells no costs.

    Raises:
        BundleError: A bundle is absent, or its manifest cannot be read.
    """
    spec = lineup.spec
    fingerprint = DEFAULT_FINGERPRINT if spec.fingerprint is None else spec.fingerprint
    try:
        looks = [_run_ms(lineup, one) for one in (fingerprint, spec.encoder) if one is not None]
        return PlannedTimes(
            caption_ms=0.0 if spec.captioner is None else _run_ms(lineup, spec.captioner),
            picture_ms={
                one.name: _run_ms(lineup, one.bundle)
                for one in spec.candidates
                if one.bundle is not None
            },
            look_ms=sum(looks),
        )
    except BundleFormatError:
        return None


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
        self._pictures = _Mean()
        self._looks = _Mean()

    def expected_ms(self, candidates: Sequence[str], gamma: int) -> float | None:
        """Return the expected time of one query; None as long as nothing is known.

        Args:
            candidates: Who redraws it.
            gamma: Pictures per candidate.
        """
        planned = self._planned or PlannedTimes()
        if self._planned is None and not self._pictures.weight:
            return None
        pictures = gamma * sum(self._weight(name) for name in candidates)
        looks = 1 + gamma * len(candidates)
        return (
            self._caption.value(planned.caption_ms)
            + pictures * self._pictures.value(1.0)
            + looks * self._looks.value(planned.look_ms)
        )

    def learn(self, spent: ResynthesisCost, candidates: Sequence[str], gamma: int) -> None:
        """Take account of a resynthesis that was made; one with cached pictures is no measure.

        Args:
            spent: Its cost.
            candidates: Who redrew.
            gamma: Pictures per candidate.
        """
        caption, drawn = spent.stage(cost.CAPTION), spent.stage(cost.GENERATE)
        if caption.items:
            self._caption.add(caption.seconds * 1e3, caption.items)
        if drawn.items and not drawn.cached:
            loading = sum(one.seconds for one in spent.graphs if one.graph == cost.LOAD)
            seconds = sum(spent.stage(name).seconds for name in DRAW_STAGES) - loading
            weight = gamma * sum(self._weight(name) for name in candidates)
            self._pictures.add(seconds * 1e3, weight)
        looks = max(spent.stage(name).items for name in LOOK_STAGES)
        if looks and not any(spent.stage(name).cached for name in LOOK_STAGES):
            self._looks.add(sum(spent.stage(name).seconds for name in LOOK_STAGES) * 1e3, looks)

    def _weight(self, candidate: str) -> float:
        """Return the time of a picture as planned; where nothing is, all candidates are alike."""
        return 1.0 if self._planned is None else self._planned.picture_ms[candidate]


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


def _run_ms(lineup: Lineup, reference: str) -> float:
    # Its files are not verified: who opens the lineup does that, and hashing takes seconds.
    path = BundleStore(home_dir()).path(lineup.bundle(reference))
    root, manifest = read_bundle(path)
    return cost_from_bundle(Bundle(root, manifest, content_digest(manifest))).run_ms
