"""`lineup classify`: the class that a fitted classifier gives images, one line each."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lineup.cli.options import batch_option, device_option, fingerprint_option, threads_option
from lineup.cli.progress import progress_of_files
from lineup.errors import UsageError

if TYPE_CHECKING:
    from lineup.classifier import OpenSetClassifier
    from lineup.evidence.batch import FingerprintedFile

SOME_FAILED = 1


@click.command(short_help="Name the class of images by a fitted classifier.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--classifier",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="What `lineup fit-open-set` wrote.",
)
@batch_option
@fingerprint_option
@device_option
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per image.")
def classify(
    images: tuple[str, ...],
    classifier: Path,
    batch: int,
    fingerprint: str | None,
    device: str,
    threads: int,
    as_json: bool,
) -> None:
    """Name the class of each IMAGE by a classifier that `lineup fit-open-set` wrote.

    IMAGE is an image, a folder (searched through) or a glob. "unknown" is the class of images that
    belong to none of the others, where the classifier was fitted with one. Probabilities are the
    classifier's own, for classes as frequent as in what it was fitted on; `lineup attribute`
    gives calibrated ones. An image that cannot be read is named on standard error; the others go
    on.

    Exit code: 0 every image has a class, 1 some could not be read, 2 wrong usage.
    """
    from rich.console import Console

    from lineup.classifier import read_classifier
    from lineup.evidence.batch import FailedFile, fingerprints_from_paths
    from lineup.evidence.fingerprint import open_extractor
    from lineup.imaging.find import find_images

    paths = list(find_images(images))
    if not paths:
        raise UsageError(
            f"No images in {', '.join(images)}.",
            hint="Folders are searched for files with the suffix of an image format.",
        )
    read_classifier(classifier)  # a damaged file is told before a model is loaded
    # Answers on the same screen show well enough how far it is.
    messages = Console(stderr=True, force_terminal=False if sys.stdout.isatty() else None)
    failed = 0
    with (
        open_extractor(fingerprint, device=device, threads=threads) as extractor,
        progress_of_files(messages, len(paths), "classify") as advance,
    ):
        head = read_classifier(classifier, fingerprint_digest=extractor.digest)
        for file in fingerprints_from_paths(paths, extractor, batch=batch):
            if isinstance(file, FailedFile):
                failed += 1
            else:
                click.echo(_line(file, head, as_json=as_json))
            advance(file)
    if failed:
        sys.exit(SOME_FAILED)


def _line(file: FingerprintedFile, head: OpenSetClassifier, *, as_json: bool) -> str:
    """Return what is printed about one image."""
    from lineup.results import UNKNOWN

    names = (*head.classes, UNKNOWN) if head.has_reject else head.classes
    values = head.probabilities(file.fingerprint[None])[0].tolist()
    found = dict(sorted(zip(names, values, strict=True), key=lambda item: -item[1]))
    label = next(iter(found))
    if as_json:
        record = {
            "path": str(file.path),
            "sha256": file.sha256,
            "label": label,
            "probabilities": {name: round(value, 6) for name, value in found.items()},
            "notes": list(file.notes),
        }
        return json.dumps(record)
    others = ", ".join(f"{name} {100 * found[name]:.1f} %" for name in list(found)[1:3])
    return f"{file.path}: {label} {100 * found[label]:.1f} % ({others})"
