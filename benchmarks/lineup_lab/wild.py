"""The protocol "wild": what is said of images that nobody kept clean, by sources nobody enrolled.

Half of each source's images is enrolled; the others, and photographs, go through a channel each
(`lineup.channels`) and are attributed. Each source in turn is left out of the gallery, and
its images are then those of an unknown generator. So each query of a source is answered once by a
gallery without it, and by as many galleries with it as there are other sources. Of the others that
a gallery knows unnamed, versions of the query's source never take part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lineup.channels import channel_from_name, through_channel
from lineup.engine import Engine
from lineup.errors import UsageError
from lineup.gallery.gallery import Gallery, SupportSet
from lineup.gallery.scoring import highest_rate
from lineup.options import DEFAULT_OPTIONS
from lineup.query import Query
from lineup.reading import read_image
from lineup.results import GENERATED, PHOTOGRAPH, UNDETERMINED, Verdict
from lineup.text import first_letters
from lineup.types import Float64Array, RgbImage
from lineup_lab.dataset import MIN_SOURCES, SourceFolder, check_names, drawn_place
from lineup_lab.metrics import auc, expected_calibration_error, resampled_oscrs

OUTCOMES = ("right", "family", "wrong", GENERATED, UNDETERMINED)
"""What an answer can be."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one gallery said of one image.

    Attributes:
        truth: The image's source.
        is_photograph: Whether that is a camera.
        is_enrolled: Whether the gallery has the source.
        channel: Kind of the channel that the image went through.
        outcome: One of `OUTCOMES`.
        claimed: Probability of the likeliest source, 0..1.
        claim_is_right: Whether that source made the image.
        scores: Per source of the gallery, the sum of the log likelihood ratios of all evidence.
    """

    truth: str
    is_photograph: bool
    is_enrolled: bool
    channel: str
    outcome: str
    claimed: float
    claim_is_right: bool
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class WildOptions:
    """How the protocol is run.

    Attributes:
        real: Names of folders of photographs, never enrolled.
        enroll: Most images of a source that are enrolled; never more than half of them.
        channels: Every query goes through each of them (`lineup.channels.through_channel`);
            without any, through one that is drawn for it.
        seed: Draws who is enrolled, and the channels.
        resamples: Of the bootstrap.
    """

    real: tuple[str, ...]
    enroll: int = 50
    channels: tuple[str, ...] = ()
    seed: int = 0
    resamples: int = 1000


@dataclass(frozen=True, slots=True)
class WildSplit:
    """Who is enrolled, and who asks.

    Attributes:
        support: Images to enrol, per source.
        queries: The others, per source, photographs among them.
        photographs: Keys of `queries` that are photographs.
    """

    support: Mapping[str, tuple[Path, ...]]
    queries: Mapping[str, tuple[Path, ...]]
    photographs: frozenset[str]

    @property
    def asked(self) -> tuple[tuple[str, Path], ...]:
        """Every query: its source and its file."""
        return tuple((source, path) for source, paths in self.queries.items() for path in paths)


def split_from_folders(
    folders: Sequence[SourceFolder], options: WildOptions, further: Sequence[SourceFolder] = ()
) -> WildSplit:
    """Draw who is enrolled.

    Args:
        folders: Sources and photographs.
        options: Which of them are photographs, how many images are enrolled.
        further: Folders that only ask; one may bear the name of a source and is another all the
            same.

    Raises:
        UsageError: A name in `real` is no folder, or fewer than two sources are left.
    """
    names = [folder.name for folder in folders]
    check_names("--real", options.real, [*names, *(folder.name for folder in further)])
    if len(set(names) - set(options.real)) < MIN_SOURCES:
        raise UsageError(
            f"The protocol needs at least {MIN_SOURCES} sources besides photographs.",
            hint="Each source in turn is left out of the gallery.",
        )
    support, queries = {}, {}
    for folder in further:
        queries[f"{folder.name} (further)"] = folder.paths
    for folder in folders:
        paths = sorted(folder.paths)
        if folder.name in options.real:
            queries[folder.name] = tuple(paths)
            continue
        paths.sort(key=lambda path: drawn_place(options.seed, f"{path.parent.name}/{path.name}"))
        count = min(options.enroll, len(paths) // 2)
        support[folder.name], queries[folder.name] = tuple(paths[:count]), tuple(paths[count:])
    camera = (*options.real, *(f"{name} (further)" for name in options.real))
    return WildSplit(support, queries, frozenset(camera) & frozenset(queries))


def answers_about_image(
    source: str,
    path: Path,
    split: WildSplit,
    engines: Mapping[str, Engine],
    options: WildOptions,
) -> list[Answer]:
    """Ask every gallery about one query, which goes through its channel or channels before.

    An image that a gallery holds, as it does photographs to measure by, is not asked about.

    Args:
        source: Key of the image in `split.queries`.
        path: The image.
        split: Who is enrolled, and who is a photograph.
        engines: By the source that each one's gallery lacks; all with the same fingerprint, which
            is computed once.
        options: Which channel, and the seed of drawn ones.

    Raises:
        ImageError: The image cannot be read.
    """
    read = read_image(path)
    if any(read.sha256 in one.ids for one in next(iter(engines.values())).gallery.reals):
        return []
    drawn = channel_from_name(f"{source}/{path.name}", options.seed)
    ways = [(one, through_channel(read.pixels, one)) for one in options.channels] or [
        (drawn.kind, drawn(read.pixels))
    ]
    return [
        answer_from_verdict(
            verdict,
            truth=source,
            is_photograph=source in split.photographs,
            is_enrolled=source in split.support and source != left_out,
            channel=channel,
        )
        for channel, pixels in ways
        for left_out, verdict in _verdicts(pixels, engines)
    ]


def _verdicts(pixels: RgbImage, engines: Mapping[str, Engine]) -> Iterator[tuple[str, Verdict]]:
    """Ask every gallery; the models run once."""
    seen = Query(pixels)
    for left_out, engine in engines.items():
        query = Query(
            seen.pixels,
            tiles=seen.tiles,
            tile_notes=seen.tile_notes,
            fingerprint=seen.fingerprint,
            strength=seen.strength,
            embedding=seen.embedding,
            real_llr=seen.real_llr,
        )
        engine.answer([query], DEFAULT_OPTIONS)
        assert query.verdict is not None
        yield left_out, query.verdict
        seen = query


def answer_from_verdict(
    verdict: Verdict, *, truth: str, is_photograph: bool, is_enrolled: bool, channel: str
) -> Answer:
    """Return what a verdict comes to, knowing who made the image."""
    candidates = [name for name in verdict.posterior if name not in {GENERATED, PHOTOGRAPH}]
    scores = {name: sum(one.llr.get(name, 0.0) for one in verdict.evidence) for name in candidates}
    likeliest = max(candidates, key=verdict.posterior.__getitem__)
    if verdict.label in candidates:
        outcome = "wrong"
        if is_enrolled and truth == verdict.label and not verdict.family:
            outcome = "right"
        elif is_enrolled and truth in verdict.family:
            outcome = "family"
    else:
        outcome = verdict.label
    return Answer(
        truth=truth,
        is_photograph=is_photograph,
        is_enrolled=is_enrolled,
        channel=channel,
        outcome=outcome,
        claimed=verdict.posterior[likeliest],
        claim_is_right=is_enrolled and likeliest == truth,
        scores=scores,
    )


def without_source(gallery: Gallery, name: str) -> Gallery:
    """Return a gallery that does not know a source."""
    rest = {key: support for key, support in gallery.sources.items() if key != name}
    return replace(gallery, sources=rest)


def others_than(source: str, others: Sequence[SupportSet]) -> tuple[SupportSet, ...]:
    """Return those that are no version of a source, by how their names begin."""
    own = first_letters(source)
    return tuple(one for one in others if first_letters(one.name) != own)


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
