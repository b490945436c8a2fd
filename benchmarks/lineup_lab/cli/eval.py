"""`lineup eval`: accuracy measured on labelled images, and its protocols on fingerprints."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.options import all_of, names_from_text
from lineup.cli.progress import progress_of_files
from lineup.errors import UsageError
from lineup.finding import check_output
from lineup_lab.cli.eval_attribution import attribution
from lineup_lab.cli.eval_wild import wild
from lineup_lab.cli.fit_open_set import NOTHING, reject_fingerprints, reject_option
from lineup_lab.cli.options import (
    attack_option,
    deliver,
    directory_argument,
    labelled_sources,
    open_extractor,
    protocol_options,
    real_option,
    require_eval,
    support_option,
)

if TYPE_CHECKING:
    from lineup.stream import TileCutter
    from lineup_lab.dataset import ProtocolOptions, SourceFolder

CLEAN = "clean"


@click.group("eval", short_help="Measure accuracy on labelled images.")
def evaluate() -> None:
    """Measure accuracy on labelled images."""
    require_eval()


evaluate.add_command(attribution)
evaluate.add_command(wild)


@evaluate.command(short_help="AUC of each source against every other source.")
@directory_argument
@real_option("A source that is only a negative, such as photographs; can be repeated.")
@click.option(
    "--rule",
    type=click.Choice(["mean", "max", "knn", "prototype"]),
    default="mean",
    show_default=True,
    help="Score of a query: mean of its cosines with the support, the highest, the mean of the "
    "five highest, or the cosine with the support's mean.",
)
@attack_option("attacked queries")
@support_option
@protocol_options
def verification(directory: Path, **settings: Any) -> None:
    """Tell each source's images from every other source's: one-against-one AUC in percent.

    DIR holds one folder of images per source. A part of each folder is the support; the rest are
    queries, scored by their cosines with the support. Attacks change the queries of every source,
    never the support. Exit code 1 when an image could not be read.
    """
    from lineup_lab.attacks import attacks_from_texts
    from lineup_lab.dataset import splits_of_sources
    from lineup_lab.report import (
        document_from_verification,
        table_from_attacks,
        table_from_verification,
    )
    from lineup_lab.verification import (
        ScoreRule,
        attacked_queries,
        targets_from_names,
        verification_from_sources,
    )

    attacks = attacks_from_texts(settings["attack_texts"])
    options, folders = _asked(directory, settings)
    targets_from_names([folder.name for folder in folders], options.real)
    rule = ScoreRule(settings["rule"])
    started = time.perf_counter()
    with open_extractor(settings) as extractor:
        sources = labelled_sources(folders, extractor, settings["batch"])
        splits = splits_of_sources(sources, options.support, options.seed)
        total = sum(len(split.queries) for split in splits.values())
        queries, batch = {}, settings["batch"]
        for attack in attacks:
            with progress_of_files(total, str(attack)) as on_file:
                queries[str(attack)] = attacked_queries(
                    sources, splits, attack, extractor, batch=batch, on_file=on_file
                )
    result = verification_from_sources(sources, options, rule=rule)
    attacked = {
        label: verification_from_sources(sources, options, rule=rule, queries=rows)
        for label, (rows, _) in queries.items()
    }
    document = document_from_verification(
        result,
        sources,
        options,
        rule=rule,
        fingerprint_digest=extractor.digest,
        seconds=time.perf_counter() - started,
        attacked=attacked,
    )
    tables = [table_from_verification(result)]
    if attacked:
        tables.append(table_from_attacks(result, attacked))
    deliver(document, tables, settings)
    if document["failed"] or any(failures for _, failures in queries.values()):
        sys.exit(1)


class_options = all_of(
    real_option("A source of photographs; together they are one known class, real. Repeatable."),
    reject_option(NOTHING),
    click.option(
        "--classifier",
        "classifier_name",
        type=click.Choice(["logistic", "calibrated"]),
        default="logistic",
        show_default=True,
        help="Logistic regression, or the gallery's calibrated mean cosine.",
    ),
    support_option,
    protocol_options,
)
"""What both protocols of classification share."""


@evaluate.command("closed-set", short_help="Accuracy among known sources.")
@directory_argument
@class_options
def closed_set(directory: Path, **settings: Any) -> None:
    """Tell which of the known sources made an image: accuracy and top 3 in percent.

    DIR holds one folder of images per source. A part of each folder, its support, fits a
    classifier; the rest are queries. Exit code 1 when an image could not be read.
    """
    _classify(directory, settings)


@evaluate.command("open-set", short_help="OSCR with sources that were never seen.")
@directory_argument
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
    names = names_from_text(unknown)
    if bool(names) == leave_one_out:
        raise UsageError(
            "Give either --unknown or --leave-one-out.",
            hint="Example: lineup eval open-set DIR --unknown dalle3",
        )
    _classify(directory, settings, names, leave_one_out=leave_one_out)


def _classify(
    directory: Path,
    settings: Mapping[str, Any],
    unknown: Sequence[str] = (),
    *,
    leave_one_out: bool = False,
) -> None:
    from lineup_lab.classification import (
        checked_unknown,
        classification_from_sources,
        leave_one_out_from_sources,
        left_out_sources,
    )
    from lineup_lab.fit_classifier import calibrated_fit, holds_fingerprints, logistic_fit
    from lineup_lab.report import (
        document_from_classification,
        table_from_classification,
    )

    options, folders = _asked(directory, settings)
    name, batch = settings["classifier_name"], settings["batch"]
    if settings["reject"] is not None:
        holds_fingerprints(settings["reject"])
        if name != "logistic":
            raise UsageError(
                "--reject has no use with --classifier calibrated.",
                hint="Leave one of the two away.",
            )
    names = [folder.name for folder in folders]
    if leave_one_out:
        unknown = left_out_sources(names, options.real)
    else:
        unknown = checked_unknown(names, unknown, options.real)
    started = time.perf_counter()
    with open_extractor(settings) as extractor:
        sources = labelled_sources(folders, extractor, batch)
        digest, path = extractor.digest, settings["reject"]
        reject = reject_fingerprints(path, digest, extractor, batch, [])
    fit = calibrated_fit if name == "calibrated" else logistic_fit(digest, reject=reject)
    if leave_one_out:
        result = leave_one_out_from_sources(sources, options, fit)
    else:
        result = classification_from_sources(sources, options, fit, unknown=unknown)
    document = document_from_classification(
        result,
        sources,
        options,
        unknown=unknown,
        classifier={"name": name, "reject": 0 if reject is None else len(reject)},
        fingerprint_digest=extractor.digest,
        seconds=time.perf_counter() - started,
    )
    deliver(document, [table_from_classification(result, options.real)], settings)
    if document["failed"]:
        sys.exit(1)


@evaluate.command(short_help="AUC of photographs against each generator.")
@directory_argument
@real_option("A source of photographs; can be repeated.", required=True)
@attack_option("all images attacked")
@protocol_options
def real(directory: Path, **settings: Any) -> None:
    """Tell photographs from generated images: AUC of photographs against each generator, percent.

    DIR holds one folder of images per source. Nothing is fitted: the bundle gives a log likelihood
    ratio per image. Attacks change photographs and generated images alike. Exit code 1 when an
    image could not be read.
    """
    from lineup_lab.attacks import AttackedExtractor, attacks_from_texts
    from lineup_lab.real import (
        generators_from_names,
        real_result_from_llrs,
        scored_sources,
    )
    from lineup_lab.report import document_from_real, table_from_real

    attacks = attacks_from_texts(settings["attack_texts"])
    options, folders = _asked(directory, settings)
    generators_from_names([folder.name for folder in folders], options.real)
    started = time.perf_counter()
    total = sum(len(folder.paths) for folder in folders)
    scored = {}
    with open_extractor(settings) as extractor:
        cutters: dict[str, TileCutter] = {CLEAN: extractor}
        cutters |= {str(attack): AttackedExtractor(extractor, attack) for attack in attacks}
        score, batch = extractor.real_llrs_from_tiles, settings["batch"]
        for label, cutter in cutters.items():
            with progress_of_files(total, label) as on_file:
                scored[label] = scored_sources(folders, cutter, score, batch=batch, on_file=on_file)
    results = {label: real_result_from_llrs(one.llrs, options) for label, one in scored.items()}
    seconds = time.perf_counter() - started
    document = document_from_real(
        results, scored, options, fingerprint_digest=extractor.digest, seconds=seconds
    )
    deliver(document, [table_from_real(results)], settings)
    if any(one.failures for one in scored.values()):
        sys.exit(1)


def _asked(
    directory: Path, settings: Mapping[str, Any]
) -> tuple[ProtocolOptions, tuple[SourceFolder, ...]]:
    """Return options and sources; a mistake shows now, not after minutes of inference."""
    from lineup_lab.dataset import (
        ProtocolOptions,
        checked_support_count,
        source_folders_from_dir,
        support_from_text,
    )

    has_support = "support" in settings
    options = ProtocolOptions(
        support=support_from_text(settings["support"]) if has_support else 0.5,
        seed=settings["seed"],
        real=tuple(dict.fromkeys(settings["real"])),
        resamples=settings["bootstrap"],
    )
    check_output(settings["output"], [directory])
    folders = source_folders_from_dir(directory)
    if has_support:
        for folder in folders:
            checked_support_count(folder.name, len(folder.paths), options.support)
    return options, folders
