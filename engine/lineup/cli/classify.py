"""`lineup classify`: the class that a fitted classifier gives images, one line each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.options import device_option, fingerprint_option, json_option, threads_option
from lineup.cli.progress import SOME_FAILED, failure_line, images_from_arguments
from lineup.cli.tables import echo_json, say

if TYPE_CHECKING:
    from lineup.results import Classification


@click.command(short_help="Name the class of images by a fitted classifier.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--classifier",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="What `lineup fit-open-set` wrote.",
)
@fingerprint_option
@device_option
@threads_option
@json_option
def classify(images: tuple[str, ...], classifier: Path, as_json: bool, **place: Any) -> None:
    """Name the class of each IMAGE by a classifier that `lineup fit-open-set` wrote.

    IMAGE is an image, a folder (searched through) or a glob. "unknown" is the class of images that
    belong to none of the others, where the classifier was fitted with one. Probabilities are the
    classifier's own, for classes as frequent as in what it was fitted on; `lineup attribute`
    gives calibrated ones. An image that cannot be read is named on standard error; the others go
    on.

    Exit code: 0 every image has a class, 1 some could not be read, 2 wrong usage.
    """
    from lineup.classifier import read_classifier
    from lineup.engine import open_engine

    paths = images_from_arguments(images)
    head = read_classifier(classifier)  # a damaged file is told before a model is loaded
    failed = 0
    with open_engine(**place) as engine:
        for image, found in engine.classify_files(paths, head):
            if found is not None:
                _show(image.path, found, as_json=as_json)
            elif image.error is not None:
                failed += 1
                say(failure_line(image.path, image.error.message), err=True)
    if failed:
        sys.exit(SOME_FAILED)


def _show(path: Path, found: Classification, *, as_json: bool) -> None:
    if as_json:
        record = {
            "path": str(path),
            "sha256": found.sha256,
            "label": found.label,
            "probabilities": {name: round(one, 6) for name, one in found.probabilities.items()},
            "notes": list(found.notes),
        }
        echo_json(record, indent=None)
        return
    ranked = list(found.probabilities.items())
    others = ", ".join(f"{name} {100 * value:.1f} %" for name, value in ranked[1:3])
    say(f"{path}: {found.label} {100 * ranked[0][1]:.1f} % ({others})")
