"""`lineup fit-open-set`: a classifier of fingerprints that can say "none of them"."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lineup.cli.options import batch_option, device_option, fingerprint_option, threads_option
from lineup.cli.progress import progress_of_files, say
from lineup.errors import UsageError
from lineup.paths import shipped_reject_path
from lineup_lab.cli.evaluation import labelled_sources

if TYPE_CHECKING:
    from rich.console import Console

    from lineup.classifier import OpenSetClassifier
    from lineup.evidence.batch import TileFingerprinter
    from lineup.evidence.fingerprint import FingerprintExtractor
    from lineup.types import Float32Array


SHIPPED, NOTHING = "shipped", "none"


def reject_path(_: click.Context, __: click.Parameter, value: str | None) -> Path | None:
    """Return what `--reject` means: the shipped fingerprints, none, or a path."""
    if value is None or value == NOTHING:
        return None
    return shipped_reject_path() if value == SHIPPED else Path(value)


@click.command("fit-open-set", short_help="Fit a classifier of known sources and the unknown.")
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--gallery",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Take the sources of a gallery folder or file instead of DIR.  [default: the shipped "
    "gallery and your own enrolments]",
)
@click.option(
    "--real",
    multiple=True,
    metavar="NAME",
    help="A folder of DIR with photographs; together they are one class, real. Repeatable.",
)
@click.option(
    "--reject",
    metavar="PATH|shipped|none",
    default=SHIPPED,
    show_default=True,
    callback=reject_path,
    help="What is none of the sources and makes a class more: a gallery, a folder of images, or "
    "the shipped fingerprints of simulated generators.",
)
@click.option(
    "--ridge",
    type=click.FloatRange(min=0, min_open=True),
    default=0.003,
    show_default=True,
    help="Penalty on the squared weights.",
)
@click.option("--provenance", default="", metavar="TEXT", help="Where the images came from.")
@click.option(
    "--output",
    "-o",
    required=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The classifier, a .safetensors file.",
)
@batch_option
@fingerprint_option
@device_option
@threads_option
def fit_open_set(
    *,
    directory: Path | None,
    gallery: Path | None,
    real: tuple[str, ...],
    reject: Path | None,
    ridge: float,
    provenance: str,
    output: Path,
    batch: int,
    fingerprint: str | None,
    device: str,
    threads: int,
) -> None:
    """Fit a classifier on the sources of DIR, one folder of images each, or of a gallery.

    One class more takes images of none of the sources; unless told otherwise it is fitted on
    reconstructions of photographs by simulated generators, whose fingerprints ship. Exit code 1
    when an image could not be read.
    """
    from rich.console import Console

    from lineup.classifier import write_classifier

    request = _Request(directory, gallery, real, reject, ridge, provenance)
    needs_model = _checked(request)
    messages = Console(stderr=True)
    started = time.perf_counter()
    failures: list[Path] = []
    with ExitStack() as stack:
        extractor = None
        if needs_model:
            from lineup.evidence.fingerprint import open_extractor

            extractor = stack.enter_context(
                open_extractor(fingerprint, device=device, threads=threads)
            )
        classifier = _classifier(request, extractor, batch, messages, failures)
    write_classifier(output, classifier)
    training = classifier.training
    click.echo(
        f"{output}: {len(classifier.classes)} classes ({', '.join(classifier.classes)}) fitted on "
        f"{sum(training.counts.values())} fingerprints, {training.reject_count} to reject, in "
        f"{time.perf_counter() - started:.1f} s"
    )
    if failures:
        sys.exit(1)


def reject_fingerprints(
    path: Path | None,
    extractor: FingerprintExtractor,
    batch: int,
    messages: Console,
) -> Float32Array | None:
    """Return the fingerprints of `--reject`, (R, D); None without it."""
    from lineup_lab.fitting.classifier import holds_fingerprints, reject_from_gallery

    if path is None:
        return None
    if holds_fingerprints(path):
        return reject_from_gallery(path, fingerprint_digest=extractor.digest)
    return _reject_from_folder(path, extractor, batch, messages, [])


@dataclass(frozen=True, slots=True)
class _Request:
    """What to fit on."""

    directory: Path | None
    gallery: Path | None
    real: tuple[str, ...]
    reject: Path | None
    ridge: float
    provenance: str


def _checked(request: _Request) -> bool:
    """Check the request before any work; return whether images have to be fingerprinted."""
    from lineup_lab.fitting.classifier import holds_fingerprints

    if request.directory is not None and request.gallery is not None:
        raise UsageError(
            "DIR and --gallery were both given.", hint="Give the one that holds the sources."
        )
    if request.directory is None and request.real:
        raise UsageError(
            "--real names folders of DIR; a gallery knows its photographs by their role.",
            hint="Leave --real away.",
        )
    rejects_images = request.reject is not None and not holds_fingerprints(request.reject)
    return request.directory is not None or rejects_images


def _classifier(
    request: _Request,
    extractor: FingerprintExtractor | None,
    batch: int,
    messages: Console,
    failures: list[Path],
) -> OpenSetClassifier:
    """Collect classes and reject fingerprints, and fit."""
    from lineup._version import __version__
    from lineup_lab.fitting.classifier import (
        classifier_from_fingerprints,
        holds_fingerprints,
        reject_from_gallery,
        shipped_reject,
    )

    digest = None if extractor is None else extractor.digest
    if request.directory is not None:
        assert extractor is not None
        known = _classes_from_dir(request, extractor, batch, messages, failures)
    else:
        known, digest = _classes_from_gallery(request.gallery, digest)
    assert digest is not None
    reject = None
    if request.reject is not None:
        if request.reject == shipped_reject_path():
            reject = shipped_reject(fingerprint_digest=digest)
            if reject is None:
                say(messages, "The shipped fingerprints to reject are of another bundle: left out.")
        elif holds_fingerprints(request.reject):
            reject = reject_from_gallery(request.reject, fingerprint_digest=digest)
        else:
            assert extractor is not None
            reject = _reject_from_folder(request.reject, extractor, batch, messages, failures)
    return classifier_from_fingerprints(
        known,
        fingerprint_digest=digest,
        reject=reject,
        ridge=request.ridge,
        provenance=request.provenance,
        version=__version__,
    )


def _classes_from_dir(
    request: _Request,
    extractor: FingerprintExtractor,
    batch: int,
    messages: Console,
    failures: list[Path],
) -> dict[str, Float32Array]:
    """Return the fingerprints of every folder, photographs as one class."""
    from lineup_lab.evaluation.classes import checked_unknown, classes_from_sources
    from lineup_lab.evaluation.dataset import source_folders_from_dir

    assert request.directory is not None
    folders = source_folders_from_dir(request.directory)
    checked_unknown([folder.name for folder in folders], (), request.real)
    sources = labelled_sources(folders, extractor, batch, messages)
    failures.extend(failed.path for source in sources for failed in source.failures)
    return classes_from_sources(sources, request.real)


def _classes_from_gallery(
    path: Path | None, digest: str | None
) -> tuple[dict[str, Float32Array], str]:
    """Return the fingerprints per class of a gallery, and the digest of their bundle."""
    from lineup.gallery.gallery import fingerprint_mismatch
    from lineup.gallery.opening import gallery_from_path, open_gallery
    from lineup_lab.fitting.classifier import classes_from_gallery

    gallery = open_gallery() if path is None else gallery_from_path(path)
    if digest is not None and gallery.fingerprint_digest != digest:
        raise fingerprint_mismatch(str(path or "the gallery"), gallery.fingerprint_digest, digest)
    return classes_from_gallery(gallery), gallery.fingerprint_digest


def _reject_from_folder(
    path: Path,
    extractor: TileFingerprinter,
    batch: int,
    messages: Console,
    failures: list[Path],
) -> Float32Array:
    """Return the fingerprints of a folder of images, with progress."""
    from lineup.evidence.batch import FailedFile, FingerprintedFile
    from lineup.imaging.find import find_images
    from lineup_lab.fitting.classifier import reject_from_images

    total = sum(1 for _ in find_images([path]))
    with progress_of_files(messages, total, "reject") as advance:

        def on_file(file: FingerprintedFile | FailedFile) -> None:
            if isinstance(file, FailedFile):
                failures.append(file.path)
            advance(file)

        return reject_from_images(path, extractor, batch=batch, on_file=on_file)
