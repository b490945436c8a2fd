"""What answers of the protocol "wild" come to: rates with intervals, ranking, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lineup.gallery.scoring import highest_rate
from lineup.types import Float64Array
from lineup_lab.metrics import auc, expected_calibration_error, resampled_oscrs
from lineup_lab.wild import OUTCOMES, Answer, WildOptions


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares of outcomes among some answers, in percent.

    Attributes:
        n: Number of different images.
        percent: Share per outcome.
        interval: 95 % bootstrap interval over images, per outcome; no narrower than that of what
            none of so many images showed.
    """

    n: int
    percent: Mapping[str, float]
    interval: Mapping[str, tuple[float, float]]


def rates_from_answers(
    answers: Sequence[Answer], images: Sequence[int], *, resamples: int, seed: int
) -> Rates:
    """Count outcomes; an image that several galleries answered counts once.

    Args:
        answers: Of one group.
        images: Number of the image that each is about.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
    """
    if not answers:
        return Rates(0, dict.fromkeys(OUTCOMES, 0.0), dict.fromkeys(OUTCOMES, (0.0, 0.0)))
    _, places = np.unique(images, return_inverse=True)
    count = int(places.max()) + 1
    table = np.zeros((count, len(OUTCOMES)))
    for place, answer in zip(places, answers, strict=True):
        table[place, OUTCOMES.index(answer.outcome)] += 1
    table /= table.sum(1, keepdims=True)
    draws = np.random.default_rng(seed).integers(0, count, (resamples, count))
    means = 100 * table[draws].mean(1)
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    # Resampling what never happened shows nothing: so many images cannot rule out more than this.
    unseen = 100 * highest_rate(0, count)
    low, high = np.minimum(low, 100 - unseen), np.maximum(high, unseen)
    return Rates(
        n=count,
        percent=dict(zip(OUTCOMES, (100 * table.mean(0)).tolist(), strict=True)),
        interval=dict(zip(OUTCOMES, zip(low.tolist(), high.tolist(), strict=True), strict=True)),
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was said of some queries; rates in percent.

    Attributes:
        enrolled: Of images whose source the gallery has.
        unknown: Of images whose source it has not.
        photographs: Of photographs.
        auc: Mean one-against-one AUC over sources, photographs and other makers among the others;
            None where too few of them asked.
        top1: Share of enrolled queries whose own source has the highest score.
        oscr: Area under the open-set classification rate; both None without queries to tell.
        ece: Expected calibration error of the likeliest source's probability, 0..1.
    """

    enrolled: Rates
    unknown: Rates
    photographs: Rates
    auc: float | None
    top1: float | None
    oscr: float | None
    ece: float

    @property
    def groups(self) -> tuple[Rates, Rates, Rates]:
        """Enrolled, unknown, photographs."""
        return self.enrolled, self.unknown, self.photographs


@dataclass(frozen=True, slots=True)
class WildResult:
    """Every figure of the protocol.

    Attributes:
        overall: Of all queries.
        channels: Of those that went through each kind of channel.
    """

    overall: Outcome
    channels: Mapping[str, Outcome]


def result_from_answers(
    answers: Sequence[Answer], galleries: int, options: WildOptions
) -> WildResult:
    """Return the figures.

    Args:
        answers: Of all queries: per image, one of each gallery.
        galleries: How many galleries answered each image.
        options: Bootstrap.
    """
    kinds = [answer.channel for answer in answers]
    return WildResult(
        overall=_outcome(answers, galleries, options),
        channels={
            kind: _outcome(
                [answer for answer in answers if answer.channel == kind], galleries, options
            )
            for kind in sorted(set(kinds))
        },
    )


def _outcome(answers: Sequence[Answer], galleries: int, options: WildOptions) -> Outcome:
    groups = _groups(answers)
    rates = []
    for group in groups:
        rows = np.flatnonzero(group)
        rates.append(
            rates_from_answers(
                [answers[row] for row in rows.tolist()],
                (rows // galleries).tolist(),
                resamples=options.resamples,
                seed=options.seed,
            )
        )
    top1, is_open = _ranks(answers, groups)
    return Outcome(
        enrolled=rates[0],
        unknown=rates[1],
        photographs=rates[2],
        auc=_mean_auc(answers),
        top1=top1,
        oscr=is_open,
        ece=expected_calibration_error(
            [answer.claimed for answer in answers], [answer.claim_is_right for answer in answers]
        ),
    )


def _groups(answers: Sequence[Answer]) -> tuple[npt.NDArray[np.bool_], ...]:
    enrolled = np.array([answer.is_enrolled for answer in answers])
    camera = np.array([answer.is_photograph for answer in answers])
    return enrolled, ~enrolled & ~camera, camera


def _ranks(
    answers: Sequence[Answer], groups: Sequence[npt.NDArray[np.bool_]]
) -> tuple[float, float] | tuple[None, None]:
    """Return the share of enrolled queries whose own source leads, and the OSCR, in percent."""
    best = np.array([max(answer.scores.values()) for answer in answers])
    leads = np.array([answer.scores.get(answer.truth, -np.inf) for answer in answers]) >= best
    enrolled, unknown, _ = groups
    if not enrolled.any() or not unknown.any():
        return None, None
    known, others = best[enrolled], best[unknown]
    once = (np.ones((1, len(one)), np.int64) for one in (known, others))
    area = resampled_oscrs(known, leads[enrolled], others, *once)[0]
    return 100 * float(leads[enrolled].mean()), 100 * float(area)


def _mean_auc(answers: Sequence[Answer]) -> float | None:
    """Return the mean AUC of a source's score, over sources and other makers, in percent."""
    by_truth: dict[str, list[Answer]] = {}
    for answer in answers:
        by_truth.setdefault(answer.truth, []).append(answer)
    values = []
    for name in sorted({key for answer in answers for key in answer.scores}):
        scores = {truth: _scores(own, name) for truth, own in by_truth.items()}
        own = scores.pop(name, np.empty(0))
        values += [auc(own, other) for other in scores.values() if len(own) and len(other)]
    return 100 * float(np.mean(values)) if values else None


def _scores(answers: Sequence[Answer], name: str) -> Float64Array:
    return np.array([answer.scores[name] for answer in answers if name in answer.scores])
