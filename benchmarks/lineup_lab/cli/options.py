"""What the commands of the laboratory share: options, progress, and where figures go."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.lineup_options import lineup_option, no_cache_option
from lineup.cli.options import (
    Command,
    all_of,
    batch_option,
    device_option,
    fingerprint_option,
    gallery_option,
    json_option,
    names_from_text,
    threads_option,
)
from lineup.cli.progress import progress_of_files
from lineup.cli.tables import console_for_tables, echo_json, messages_console, say
from lineup.errors import UsageError, require_extra
from lineup.files import write_atomic

if TYPE_CHECKING:
    from rich.table import Table

    from lineup.calibration.calibration import Calibration
    from lineup.engine import Engine
    from lineup.fingerprint import FingerprintExtractor
    from lineup.options import AttributionOptions
    from lineup.stream import StreamedImage
    from lineup_lab.attribution import Judge
    from lineup_lab.dataset import LabelledSource, SourceFolder, TileFingerprinter
    from lineup_lab.scores import RawScores, ScoreFile

SEED = click.IntRange(0, 2**32 - 1)
"""What NumPy and scikit-learn both take."""

directory_argument = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
bootstrap_option = click.option(
    "--bootstrap",
    type=click.IntRange(100, 100_000),
    default=1000,
    show_default=True,
    help="Resamples for the 95 % interval.",
)


def require_eval() -> None:
    """Check that the extra is installed, before any work.

    Raises:
        MissingExtraError: It is not.
    """
    require_extra("eval", ("matplotlib", "scipy", "sklearn"))


def file_option(help_text: str, *, required: bool = False) -> Callable[[Command], Command]:
    """Return `--output` and `-o`; the command receives `output: Path | None`."""
    return click.option(
        "--output",
        "-o",
        required=required,
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help=help_text,
    )


def real_option(help_text: str, *, required: bool = False) -> Callable[[Command], Command]:
    """Return `--real`; the command receives `real: tuple[str, ...]`."""
    return click.option("--real", multiple=True, required=required, metavar="NAME", help=help_text)


def figures_options(note: str = "") -> Callable[[Command], Command]:
    """Return `--json` and `--output`, whose help goes on with `note`; both are received."""
    return all_of(json_option, file_option(f"Write the JSON document to this file{note}."))


def attack_option(attacked: str) -> Callable[[Command], Command]:
    """Return `--attack`, of "attacked queries" or so; the command receives `attack_texts`."""
    return click.option(
        "--attack",
        "attack_texts",
        multiple=True,
        metavar="NAME[:VALUE]",
        help=f"Measure again with {attacked}: jpeg:90, webp:80, resize:0.5, blur:1, crop:0.8, "
        "noise:2; can be repeated.",
    )


support_option = click.option(
    "--support",
    default="0.5",
    show_default=True,
    metavar="SHARE|COUNT",
    help="Images of each source that stand for it; the others are queries.",
)


protocol_options = all_of(
    click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the draws."),
    bootstrap_option,
    batch_option,
    figures_options(),
    fingerprint_option,
    device_option,
    threads_option,
)
"""What all protocols on fingerprints share; the command receives `seed`, `bootstrap`, `batch`,
`as_json`, `output`, `fingerprint`, `device` and `threads`."""


def deliver(
    document: Mapping[str, Any], tables: Iterable[Table], settings: Mapping[str, Any]
) -> None:
    """Print tables or, with `--json`, the document; and write it where `--output` says.

    Raises:
        UsageError: The file cannot be written.
    """
    text = json.dumps(document, indent=2, allow_nan=False)
    if settings["as_json"]:
        echo_json(document)
    else:
        console = console_for_tables()
        for table in tables:
            console.print(table)
    output: Path | None = settings["output"]
    if output is None:
        return
    try:
        write_atomic(output, f"{text}\n".encode())
    except OSError as error:
        raise UsageError(
            f"Cannot write {output}: {error.strerror or error}.",
            hint="Give --output a file in a folder that can be written to.",
        ) from error


def open_extractor(settings: Mapping[str, Any]) -> FingerprintExtractor:
    """Open the fingerprint bundle that `--fingerprint`, `--device` and `--threads` name."""
    from lineup.fingerprint import DEFAULT_BUNDLE, FingerprintExtractor
    from lineup.runtime import Runtime

    runtime = Runtime(settings["device"], threads=settings["threads"])
    return runtime.open(FingerprintExtractor, settings["fingerprint"] or DEFAULT_BUNDLE)


@contextmanager
def progress_and_failures(
    total: int, label: str, failures: list[Path]
) -> Iterator[Callable[[StreamedImage], None]]:
    """Yield what each image is told to; those that failed are added to `failures`."""
    with progress_of_files(total, label) as advance:

        def on_file(image: StreamedImage) -> None:
            if image.error is not None:
                failures.append(image.path)
            advance(image)

        yield on_file


def labelled_sources(
    folders: Sequence[SourceFolder], extractor: TileFingerprinter, batch: int
) -> tuple[LabelledSource, ...]:
    """Fingerprint every image and say which files took no part, and why."""
    from lineup_lab.dataset import labelled_sources_from_folders

    messages = messages_console()
    total = sum(len(folder.paths) for folder in folders)
    with progress_of_files(total, "fingerprints") as on_file:
        sources = labelled_sources_from_folders(folders, extractor, batch=batch, on_file=on_file)
    for source in sources:
        if source.duplicate_count:
            say(
                f"{source.name}: {source.duplicate_count} duplicate file(s) dropped",
                console=messages,
            )
        if source.ambiguous_count:
            say(
                f"{source.name}: {source.ambiguous_count} image(s) dropped that lie in another "
                "source's folder too",
                console=messages,
            )
    return sources


labelled_options = all_of(
    lineup_option("pocket"),
    real_option("A folder of photographs, besides one that is called real. Repeatable."),
    click.option(
        "--evidence",
        metavar="NAME,...",
        help="Use these alone: fingerprint, resynthesis, ...  [default: all of the lineup]",
    ),
    click.option(
        "--limit", type=click.IntRange(min=2), metavar="N", help="Most images per source. [all]"
    ),
    click.option(
        "--known-prompts",
        is_flag=True,
        help="Take prompts from DIR/prompts.json, where an image has one, and caption the others.",
    ),
    click.option(
        "--scores",
        "scores_path",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Keep raw scores in this file; a run that was stopped goes on from it.",
    ),
    no_cache_option,
    fingerprint_option,
    gallery_option,
    device_option,
    threads_option,
)
"""What both commands take: the lineup, its parts, the images and where scores are kept."""


def asked_gammas(settings: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return the rising numbers that `--gamma` lists, each once; None is the command's default.

    Raises:
        UsageError: Not whole numbers from 1 up.
    """
    text = settings["gamma_text"]
    if text is None:
        return None
    parts = names_from_text(text)
    if not parts or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(
            f"--gamma {text!r} is no list of numbers from 1 up.", hint="Example: --gamma 1,2,4"
        )
    return tuple(sorted({int(part) for part in parts}))


def limited_folders(directory: Path, limit: int | None) -> tuple[SourceFolder, ...]:
    """Return the sources of a folder, each with at most `limit` images, the first by name.

    Resyntheses that lie beside the images are none of them.

    Raises:
        UsageError: See `source_folders_from_dir`.
    """
    from lineup_lab.dataset import SourceFolder, source_folders_from_dir
    from lineup_lab.stored_layout import without_pictures

    folders = without_pictures(source_folders_from_dir(directory), directory)
    return tuple(SourceFolder(one.name, one.paths[:limit]) for one in folders)


def open_for(
    settings: Mapping[str, Any], *, calibrated: bool, stored_of: Path | None = None
) -> Engine:
    """Open the lineup that the values of `labelled_options` name.

    With `stored_of`, its candidates do not resynthesise: what is stored takes their place, of that
    folder where it has any.
    """
    from lineup.engine import open_engine
    from lineup.lineups.store import DEFAULT_LINEUP, open_lineup
    from lineup_lab.stored_layout import LaidOutResyntheses, stored_lineup

    lineup, stored = open_lineup(settings["lineup"] or DEFAULT_LINEUP), None
    if stored_of is not None:
        laid_out = LaidOutResyntheses(stored_of)
        stored = laid_out if laid_out.candidates else None
        lineup = stored_lineup(lineup, stored)
    return open_engine(
        lineup,
        stored=stored,
        device=settings["device"],
        threads=settings["threads"],
        fingerprint=settings["fingerprint"],
        gallery=settings["gallery"],
        cache=not settings["no_cache"],
        calibrated=calibrated,
    )


def collected_scores(
    folders: Sequence[SourceFolder],
    engine: Engine,
    options: AttributionOptions,
    store: ScoreFile,
    *,
    prompts: Mapping[str, str],
    label: str,
) -> tuple[list[RawScores], int]:
    """Return the scores of every distinct image, and how many files could not be read."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from lineup_lab.scores import distinct_rows, raw_scores

    rows, messages = [], messages_console()
    columns = (label, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=messages, transient=True, disable=not messages.is_terminal
    ) as progress:
        task = progress.add_task(label, total=sum(len(folder.paths) for folder in folders))
        for row in raw_scores(folders, engine, options, store, prompts=prompts):
            rows.append(row)
            progress.advance(task)
    kept = distinct_rows(rows, lambda row, reason: say(f"{row.path}: {reason}", console=messages))
    return kept, sum(row.error is not None for row in rows)


def judge_of(
    engine: Engine,
    changes: Mapping[str, Any],
    mode: str = "default",
    calibration: Calibration | None = None,
) -> Judge:
    """Return the judge by one procedure, the lineup's settings of resyntheses changed."""
    from lineup.options import Mode, options_from_mode
    from lineup_lab.attribution import Judge

    return Judge(
        candidates=engine.candidates,
        settings=options_from_mode(Mode(mode), engine.lineup.spec.resynthesis, changes),
        evidence_options=engine.evidence_options,
        calibration=calibration,
        families=engine.families,
    )
