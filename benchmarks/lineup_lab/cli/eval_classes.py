"""`lineup eval closed-set` and `lineup eval open-set`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lineup.cli.options import device_option, fingerprint_option, threads_option, with_options
from lineup.cli.tables import console_for_tables
from lineup.errors import UsageError
from lineup_lab.cli.evaluation import labelled_sources, protocol_options, write_json
from lineup_lab.cli.fit_open_set import NOTHING, reject_fingerprints, reject_path

if TYPE_CHECKING:
    from lineup.types import Float32Array
    from lineup_lab.evaluation.classification import (
        ClassificationOptions,
        ClassificationResult,
        Fit,
    )
    from lineup_lab.evaluation.dataset import LabelledSource, SourceFolder

Command = TypeVar("Command", bound=Callable[..., Any])


def class_options(command: Command) -> Command:
    """Add what both protocols share; the command passes it on to `_run`."""
    options: tuple[Callable[[Command], Command], ...] = (
        click.option(
            "--real",
            multiple=True,
            metavar="NAME",
            help="A source of photographs; together they are one known class, real. Repeatable.",
        ),
        click.option(
            "--reject",
            metavar="PATH|shipped|none",
            default=NOTHING,
            show_default=True,
            callback=reject_path,
            help="What is none of the sources and makes a class more: a gallery, a folder of "
            "images, or the shipped fingerprints of simulated generators.",
        ),
        click.option(
            "--classifier",
            "classifier_name",
            type=click.Choice(["logistic", "calibrated"]),
            default="logistic",
            show_default=True,
            help="Logistic regression, or the gallery's calibrated mean cosine.",
        ),
        protocol_options,
        fingerprint_option,
        device_option,
        threads_option,
    )
    return with_options(command, options)


@click.command("closed-set", short_help="Accuracy among known sources.")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@class_options
def closed_set(directory: Path, **settings: Any) -> None:
    """Tell which of the known sources made an image: accuracy and top 3 in percent.

    DIR holds one folder of images per source. A part of each folder, its support, fits a
    classifier; the rest are queries. Exit code 1 when an image could not be read.
    """
    _run(_Request(directory, settings))


@click.command("open-set", short_help="OSCR with sources that were never seen.")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--unknown",
    metavar="NAME,...",
    default="",
    help="Sources that the classifier does not get to know.",
)
@click.option(
    "--leave-one-out",
    is_flag=True,
    help="Make each source in turn the unknown one, those of --real excepted.",
)
@class_options
def open_set(directory: Path, *, unknown: str, leave_one_out: bool, **settings: Any) -> None:
    """Tell known sources apart and from unknown ones: accuracy, AUROC and OSCR in percent.

    DIR holds one folder of images per source. A part of each known folder, its support, fits a
    classifier; the rest, and the same part of the unknown folders, are queries. Exit code 1 when
    an image could not be read.
    """
    names = tuple(name.strip() for name in unknown.split(",") if name.strip())
    if bool(names) == leave_one_out:
        raise UsageError(
            "Give either --unknown or --leave-one-out.",
            hint="Example: lineup eval open-set DIR --unknown dalle3",
        )
    _run(_Request(directory, settings, names, leave_one_out))


@dataclass(frozen=True, slots=True)
class _Request:
    """What was asked for: `settings` are those of `class_options`."""

    directory: Path
    settings: dict[str, Any]
    unknown: tuple[str, ...] = ()
    leave_one_out: bool = False


def _run(request: _Request) -> None:
    """Check, compute, print and write."""
    from rich.console import Console

    from lineup.evidence.fingerprint import open_extractor
    from lineup_lab.evaluation.class_output import (
        document_from_classification,
        table_from_classification,
    )

    settings = request.settings
    folders, options, unknown = _checked(request)
    messages = Console(stderr=True)
    started = time.perf_counter()
    with open_extractor(
        settings["fingerprint"], device=settings["device"], threads=settings["threads"]
    ) as extractor:
        sources = labelled_sources(folders, extractor, settings["batch"], messages)
        reject = reject_fingerprints(settings["reject"], extractor, settings["batch"], messages)
        fit = _fit(settings["classifier_name"], extractor.digest, reject)
        result = _result(sources, options, fit, unknown, request.leave_one_out)
        document = document_from_classification(
            result,
            sources,
            options,
            unknown=unknown,
            classifier={
                "name": settings["classifier_name"],
                "reject": 0 if reject is None else len(reject),
            },
            fingerprint_digest=extractor.digest,
            seconds=time.perf_counter() - started,
        )
    console_for_tables().print(table_from_classification(result, options.real))
    if settings["json_path"] is not None:
        write_json(settings["json_path"], document)
    if document["failed"]:
        sys.exit(1)


def _checked(
    request: _Request,
) -> tuple[tuple[SourceFolder, ...], ClassificationOptions, tuple[str, ...]]:
    """Return folders, options and unknown sources; a mistake shows before minutes of inference."""
    from lineup_lab.evaluation.classes import checked_unknown, left_out_sources
    from lineup_lab.evaluation.classification import ClassificationOptions
    from lineup_lab.evaluation.dataset import source_folders_from_dir
    from lineup_lab.evaluation.splits import checked_support_count, support_size_from_text
    from lineup_lab.fitting.classifier import holds_fingerprints

    settings = request.settings
    options = ClassificationOptions(
        support=support_size_from_text(settings["support"]),
        seed=settings["seed"],
        real=tuple(dict.fromkeys(settings["real"])),
        resamples=settings["bootstrap"],
    )
    if settings["reject"] is not None:
        holds_fingerprints(settings["reject"])
        if settings["classifier_name"] != "logistic":
            raise UsageError(
                "--reject has no use with --classifier calibrated.",
                hint="Leave one of the two away.",
            )
    folders = source_folders_from_dir(request.directory)
    names = [folder.name for folder in folders]
    if request.leave_one_out:
        unknown = left_out_sources(names, options.real)
    else:
        unknown = checked_unknown(names, request.unknown, options.real)
    for folder in folders:
        checked_support_count(folder.name, len(folder.paths), options.support)
    return folders, options, unknown


def _fit(name: str, fingerprint_digest: str, reject: Float32Array | None) -> Fit:
    from lineup_lab.evaluation.classifiers import ClassifierKind, calibrated_fit, logistic_fit

    if ClassifierKind(name) is ClassifierKind.CALIBRATED:
        return calibrated_fit
    return logistic_fit(fingerprint_digest, reject=reject)


def _result(
    sources: Sequence[LabelledSource],
    options: ClassificationOptions,
    fit: Fit,
    unknown: Sequence[str],
    leave_one_out: bool,
) -> ClassificationResult:
    from lineup_lab.evaluation.classification import (
        classification_from_sources,
        leave_one_out_from_sources,
    )

    if leave_one_out:
        return leave_one_out_from_sources(sources, options, fit)
    return classification_from_sources(sources, options, fit, unknown=unknown)
