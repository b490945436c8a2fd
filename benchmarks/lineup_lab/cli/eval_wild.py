"""`lineup eval wild`: what is said of images that nobody kept clean, by unknown makers too."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.options import all_of, device_option, fingerprint_option, threads_option
from lineup.cli.progress import failure_line, tracked
from lineup.cli.tables import messages_console, say
from lineup.errors import ImageError
from lineup.finding import check_output
from lineup_lab.cli.options import (
    SEED,
    bootstrap_option,
    deliver,
    directory_argument,
    figures_options,
    real_option,
)

if TYPE_CHECKING:
    from rich.console import Console

    from lineup.engine import Engine
    from lineup.fingerprint import FingerprintExtractor
    from lineup.gallery.gallery import Gallery
    from lineup.reference import ReferenceEncoder
    from lineup_lab.wild import WildSplit


@click.command("wild", short_help="Verdicts on handled images, unknown generators and photographs.")
@directory_argument
@real_option("A folder of photographs, never enrolled; can be repeated.", required=True)
@click.option(
    "--enroll",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Most images of a source to enrol; never more than half of them.",
)
@click.option(
    "--recompressed",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folders of further images, whose makers are unknown whatever is enrolled; --real names "
    "those of photographs here too.",
)
@click.option(
    "--channel",
    "channels",
    multiple=True,
    metavar="CHANNEL",
    help="Every query goes through this one, such as clean, jpeg:70 or resize:0.5, instead of one "
    "that is drawn for it; can be repeated.",
)
@click.option(
    "--seed",
    type=SEED,
    default=0,
    show_default=True,
    help="Draws who is enrolled, and the channels.",
)
@click.option(
    "--without-reference",
    is_flag=True,
    help="Fingerprints alone, though the encoder of the reference evidence is there.",
)
@click.option(
    "--picture",
    metavar="PNG",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw the verdicts as bars.",
)
def wild(directory: Path, recompressed: Path | None, picture: Path | None, **settings: Any) -> None:
    """Measure verdicts as they come in the wild: rates in percent.

    DIR holds one folder of images per source. Half of each is enrolled, the rest are queries, each
    through one channel: none, JPEG, WebP, resize, social network, crop, blur or screenshot. Each
    source in turn is left out of the gallery: its images are then those of an unknown generator.
    Generators that galleries know unnamed take part, but for those whose names begin with the
    letters of the query's source. Exit code 1 when an image could not be read.
    """
    from lineup.channels import CLEAN
    from lineup.fingerprint import DEFAULT_BUNDLE, FingerprintExtractor
    from lineup.imaging.operations import operation_from_text
    from lineup.reference import open_reference_encoder
    from lineup.runtime import Runtime
    from lineup_lab.dataset import source_folders_from_dir
    from lineup_lab.wild import (
        WildOptions,
        answers_about_image,
        others_than,
        split_from_folders,
        without_source,
    )
    from lineup_lab.wild_rates import result_from_answers
    from lineup_lab.wild_report import document_from_result, tables_from_result, write_picture

    for channel in set(settings["channels"]) - {CLEAN}:
        operation_from_text(channel)
    options = WildOptions(
        real=tuple(dict.fromkeys(settings["real"])),
        enroll=settings["enroll"],
        channels=settings["channels"],
        seed=settings["seed"],
        resamples=settings["bootstrap"],
    )
    for output in (settings["output"], picture):
        check_output(output, [directory, *([] if recompressed is None else [recompressed])])
    folders = source_folders_from_dir(directory)
    further = () if recompressed is None else source_folders_from_dir(recompressed)
    split = split_from_folders(folders, options, further)
    messages, started = messages_console(), time.perf_counter()
    answers, failed = [], 0
    runtime = Runtime(settings["device"], threads=settings["threads"])
    with ExitStack() as stack:
        bundle = settings["fingerprint"] or DEFAULT_BUNDLE
        extractor = stack.enter_context(runtime.open(FingerprintExtractor, bundle))
        encoder = None if settings["without_reference"] else open_reference_encoder(runtime)
        if encoder is not None:
            stack.enter_context(encoder)
        gallery = _enrolled(split, extractor, encoder, messages)
        others, engines = None, {}
        for source, path in tracked(split.asked, "queries", messages):
            if others != (others := others_than(source, gallery.others)):
                known = replace(gallery, others=others)
                engines = {
                    name: _engine(extractor, encoder, without_source(known, name))
                    for name in split.support
                }
            try:
                answers += answers_about_image(source, path, split, engines, options)
            except ImageError as error:
                failed += 1
                say(failure_line(path, error.message), console=messages)
    result = result_from_answers(answers, len(split.support), options)
    seconds = time.perf_counter() - started
    document = document_from_result(result, options, failed=failed, seconds=seconds)
    if picture is not None:
        write_picture(picture, result)
    deliver(document, tables_from_result(result), settings)
    if failed:
        sys.exit(1)


wild = all_of(
    bootstrap_option, figures_options(), fingerprint_option, device_option, threads_option
)(wild)


def _enrolled(
    split: WildSplit,
    extractor: FingerprintExtractor,
    encoder: ReferenceEncoder | None,
    messages: Console,
) -> Gallery:
    """Enrol every source's support in a gallery of its own, as a user would."""
    from tempfile import TemporaryDirectory

    from lineup.gallery.enroll import enroll_images
    from lineup.gallery.opening import user_store, with_shipped

    with TemporaryDirectory(prefix="lineup-wild-") as folder:
        store = user_store(Path(folder))
        for name, paths in tracked(split.support.items(), "enrolling", messages):
            for failure in enroll_images(store, name, paths, extractor, encoder).failed:
                say(failure_line(failure.path, failure.message), console=messages)
        return with_shipped(store.read())


def _engine(
    extractor: FingerprintExtractor, encoder: ReferenceEncoder | None, gallery: Gallery
) -> Engine:
    from lineup.engine import Engine
    from lineup.lineups.store import open_lineup

    open_encoder = None if encoder is None else lambda: encoder
    return Engine(extractor, lambda: gallery, open_lineup(None), open_encoder=open_encoder)
