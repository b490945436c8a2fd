"""The cascade against running everything: accuracy and mean cost per image.

    python benchmarks/cascade.py LINEUP DIR [--unknown NAME,...] [--stop-margin 0.9 ...] [--limit N]

DIR is labelled as for `lineup eval attribution`: a folder per source, named after its candidate;
"real" holds photographs. Every image is attributed once with all evidence and once per margin, in
one process, without a cache, so that all see the same machine. Ends in one JSON line.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _record import finish, parser_of
from lineup.engine import Engine, open_engine
from lineup.options import DEFAULT_FLOOR, DEFAULT_STOP_MARGIN, AttributionOptions, CascadeOptions
from lineup_lab.attribution import roles_from_sources
from lineup_lab.cli.options import limited_folders
from lineup_lab.scores import answering_ms

EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came out for one image.

    Attributes:
        label: Of the verdict.
        is_right: Whether the label is right.
        ms: What it took, decoding left out.
        redrawn: Candidates that redrew it.
    """

    label: str
    is_right: bool
    ms: float
    redrawn: int


def answers(
    engine: Engine,
    images: Sequence[tuple[str, Path]],
    questions: Mapping[str, AttributionOptions],
) -> dict[str, list[Answer]]:
    """Attribute every image by every procedure, one after the other."""
    found: dict[str, list[Answer]] = {name: [] for name in questions}
    # Loads what is loaded when it is needed.
    engine.attribute(images[0][1], options=questions[EVERYTHING])
    for truth, path in images:
        for name, options in questions.items():
            made = engine.attribute(path, options=options)
            assert made.verdict is not None
            label = made.verdict.label
            redrawn = 0 if made.resyntheses is None else len(made.resyntheses.images)
            found[name].append(Answer(label, label == truth, answering_ms(made), redrawn))
    return found


def summary(found: Sequence[Answer], everything: Sequence[Answer]) -> dict[str, float]:
    """Return accuracy, cost, and how both compare with running everything."""
    mean_ms = statistics.fmean(one.ms for one in found)
    accuracy = 100 * statistics.fmean(one.is_right for one in found)
    full_accuracy = 100 * statistics.fmean(one.is_right for one in everything)
    same = (a.label == b.label for a, b in zip(found, everything, strict=True))
    return {
        "accuracy_percent": accuracy,
        "accuracy_change_points": accuracy - full_accuracy,
        "same_label_percent": 100 * statistics.fmean(same),
        "mean_ms": mean_ms,
        "median_ms": statistics.median(one.ms for one in found),
        "cost_ratio": statistics.fmean(one.ms for one in everything) / mean_ms,
        "redrawn_percent": 100 * statistics.fmean(one.redrawn > 0 for one in found),
        "mean_candidates_redrawn": statistics.fmean(one.redrawn for one in found),
    }


def main() -> None:
    """Measure and print what came out."""
    parser = parser_of(__doc__)
    parser.add_argument("lineup")
    parser.add_argument("directory", metavar="DIR", type=Path)
    parser.add_argument("--unknown", default="")
    parser.add_argument("--stop-margin", type=float, nargs="+", default=[DEFAULT_STOP_MARGIN])
    parser.add_argument("--floor", type=float, default=DEFAULT_FLOOR)
    parser.add_argument("--limit", type=int, help="images per source")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    folders = limited_folders(arguments.directory, arguments.limit)
    unknown = [name.strip() for name in arguments.unknown.split(",") if name.strip()]
    questions = {EVERYTHING: AttributionOptions()} | {
        f"margin {margin:g}": AttributionOptions(
            cascade=CascadeOptions(stop_margin=margin, floor=arguments.floor)
        )
        for margin in arguments.stop_margin
    }
    with open_engine(
        arguments.lineup, device=arguments.device, threads=arguments.threads, cache=False
    ) as engine:
        roles = roles_from_sources([one.name for one in folders], engine.candidates, unknown, [])
        images = [(roles[one.name], path) for one in folders for path in one.paths]
        found = answers(engine, images, questions)
    settings: dict[str, Any] = {
        "lineup": Path(arguments.lineup).name,
        "sources": {one.name: len(one.paths) for one in folders},
        "floor": arguments.floor,
        "device": arguments.device,
        "threads": arguments.threads,
    }
    results = {name: summary(made, found[EVERYTHING]) for name, made in found.items()}
    finish("cascade", settings, results, record=arguments.record)


if __name__ == "__main__":
    main()
