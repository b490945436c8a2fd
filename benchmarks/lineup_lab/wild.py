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

from lineup.channels import channel_from_name, through_channel
from lineup.engine import Engine
from lineup.errors import UsageError
from lineup.gallery.gallery import Gallery
from lineup.gallery.support import SupportSet
from lineup.options import DEFAULT_OPTIONS
from lineup.query import Query
from lineup.reading import read_image
from lineup.results import GENERATED, PHOTOGRAPH, UNDETERMINED, Verdict
from lineup.text import first_letters
from lineup.types import RgbImage
from lineup_lab.dataset import MIN_SOURCES, SourceFolder, check_names, drawn_place

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
