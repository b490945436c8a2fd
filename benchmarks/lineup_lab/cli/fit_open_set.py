"""`lineup fit-open-set`: a classifier of fingerprints that can say "none of them"."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.options import (
    Command,
    batch_option,
    device_option,
    fingerprint_option,
    threads_option,
)
from lineup.cli.tables import messages_console, say
from lineup.errors import UsageError
from lineup.finding import check_output
from lineup.paths import shipped_reject_path
from lineup_lab.cli.options import (
    file_option,
    labelled_sources,
    open_extractor,
    progress_and_failures,
    real_option,
    require_eval,
)

if TYPE_CHECKING:
    from lineup.fingerprint import FingerprintExtractor
    from lineup.types import Float32Array
    from lineup_lab.dataset import TileFingerprinter

SHIPPED, NOTHING = "shipped", "none"


def reject_option(default: str) -> Callable[[Command], Command]:
    """Return `--reject`; the command receives `reject: Path | None`."""

    def path_from_text(_: click.Context, __: click.Parameter, value: str) -> Path | None:
        paths = {NOTHING: None, SHIPPED: shipped_reject_path()}
        return paths[value] if value in paths else Path(value)

    return click.option(
        "--reject",
        metavar="PATH|shipped|none",
        default=default,
        show_default=True,
        callback=path_from_text,
        help="What is none of the sources and makes a class more: a gallery, a folder of images, "
        "or the shipped fingerprints of simulated generators.",
    )


@click.command("fit-open-set", short_help="Fit a classifier of known sources and the unknown.")
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--gallery",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Take the sources of a gallery folder or file instead of DIR.  [default: the shipped "
    "gallery and your own enrolments]",
)
@real_option("A folder of DIR with photographs; together they are one class, real. Repeatable.")
@reject_option(SHIPPED)
@click.option(
    "--ridge",
    type=click.FloatRange(min=0, min_open=True),
    default=0.003,
    show_default=True,
    help="Penalty on the squared weights.",
)
@click.option("--provenance", default="", metavar="TEXT", help="Where the images came from.")
@file_option("The classifier, a .safetensors file.", required=True)
@batch_option
@fingerprint_option
@device_option
@threads_option
def fit_open_set(directory: Path | None, output: Path, **settings: Any) -> None:
    """Fit a classifier on the sources of DIR, one folder of images each, or of a gallery.

    One class more takes images of none of the sources; unless told otherwise it is fitted on
    reconstructions of photographs by simulated generators, whose fingerprints ship. Exit code 1
    when an image could not be read.
    """
    require_eval()
    from lineup._version import __version__
    from lineup.classifier import write_classifier
    from lineup_lab.fit_classifier import classifier_from_fingerprints, holds_fingerprints

    _check(directory, settings)
    check_output(output, [] if directory is None else [directory])
    reject_path: Path | None = settings["reject"]
    rejects_images = reject_path is not None and not holds_fingerprints(reject_path)
    started = time.perf_counter()
    failures: list[Path] = []
    with ExitStack() as stack:
        extractor = None
        if directory is not None or rejects_images:
            extractor = stack.enter_context(open_extractor(settings))
        known, digest = _classes(directory, settings, extractor, failures)
        reject = reject_fingerprints(reject_path, digest, extractor, settings["batch"], failures)
    classifier = classifier_from_fingerprints(
        known,
        fingerprint_digest=digest,
        reject=reject,
        ridge=settings["ridge"],
        provenance=settings["provenance"],
        version=__version__,
    )
    write_classifier(output, classifier)
    training = classifier.training
    say(
        f"{output}: {len(classifier.classes)} classes ({', '.join(classifier.classes)}) fitted on "
        f"{sum(training.counts.values())} fingerprints, {training.reject_count} to reject, in "
        f"{time.perf_counter() - started:.1f} s"
    )
    if failures:
        sys.exit(1)


def _check(directory: Path | None, settings: Mapping[str, Any]) -> None:
    if directory is not None and settings["gallery"] is not None:
        raise UsageError(
            "DIR and --gallery were both given.", hint="Give the one that holds the sources."
        )
    if directory is None and settings["real"]:
        raise UsageError(
            "--real names folders of DIR; a gallery knows its photographs by their role.",
            hint="Leave --real away.",
        )


def _classes(
    directory: Path | None,
    settings: Mapping[str, Any],
    extractor: FingerprintExtractor | None,
    failures: list[Path],
) -> tuple[dict[str, Float32Array], str]:
    """Return the fingerprints per class, photographs as one class, and their bundle's digest."""
    from lineup.gallery.gallery import fingerprint_mismatch
    from lineup.gallery.opening import gallery_from_path, open_gallery
    from lineup_lab.classification import checked_unknown, classes_from_sources
    from lineup_lab.dataset import source_folders_from_dir
    from lineup_lab.fit_classifier import classes_from_gallery

    if directory is not None:
        assert extractor is not None
        folders = source_folders_from_dir(directory)
        checked_unknown([folder.name for folder in folders], (), settings["real"])
        sources = labelled_sources(folders, extractor, settings["batch"])
        failures.extend(failed.path for source in sources for failed in source.failures)
        known = {source.name: source.fingerprints for source in sources}
        return classes_from_sources(known, settings["real"]), extractor.digest
    path: Path | None = settings["gallery"]
    gallery = open_gallery() if path is None else gallery_from_path(path)
    digest = gallery.fingerprint_digest
    if extractor is not None and digest != extractor.digest:
        raise fingerprint_mismatch(str(path or "the gallery"), digest, extractor.digest)
    return classes_from_gallery(gallery), digest


def reject_fingerprints(
    path: Path | None,
    digest: str,
    extractor: TileFingerprinter | None,
    batch: int,
    failures: list[Path],
) -> Float32Array | None:
    """Return the fingerprints of `--reject`, (R, D), and add what failed; None without it."""
    from lineup.finding import find_images
    from lineup_lab.fit_classifier import (
        holds_fingerprints,
        reject_from_gallery,
        reject_from_images,
        shipped_reject,
    )

    if path is None:
        return None
    if path == shipped_reject_path():
        shipped = shipped_reject(fingerprint_digest=digest)
        if shipped is None:
            say(
                "The shipped fingerprints to reject are of another bundle: left out.",
                console=messages_console(),
            )
        return shipped
    if holds_fingerprints(path):
        return reject_from_gallery(path, fingerprint_digest=digest)
    assert extractor is not None
    total = sum(1 for _ in find_images([path]))
    with progress_and_failures(total, "reject", failures) as on_file:
        return reject_from_images(path, extractor, batch=batch, on_file=on_file)
