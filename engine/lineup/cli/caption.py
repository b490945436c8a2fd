"""`lineup caption`: what a captioner says about images, one line each."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.options import device_option, json_option, threads_option
from lineup.cli.progress import SOME_FAILED, images_from_arguments, tracked
from lineup.cli.tables import echo_json, messages_console, say

if TYPE_CHECKING:
    from lineup.models.captioner import Caption
    from lineup.types import RgbImage


@click.command(short_help="Describe images in words.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--captioner",
    metavar="BUNDLE",
    help="Captioner bundle, by name or path.  [default: pocket-captioner]",
)
@click.option(
    "--beams",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Captions followed at a time; 1 takes the likeliest word each time.",
)
@click.option("--prompt", help="Text that every caption continues.  [default: the captioner's own]")
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    help="Longest caption.  [default: what the captioner can make]",
)
@json_option
@device_option
@threads_option
def caption(
    images: tuple[str, ...],
    captioner: str | None,
    beams: int,
    prompt: str | None,
    max_tokens: int | None,
    as_json: bool,
    **place: Any,
) -> None:
    """Describe each IMAGE in words, one line each.

    IMAGE is an image, a folder (searched through) or a glob. A caption is the prompt from which
    candidates draw the image again. An image that cannot be read is named on standard error; the
    others go on.

    Exit code: 0 every image has a caption, 1 some could not be read, 2 wrong usage.
    """
    from lineup.models.captioner import DEFAULT_BUNDLE, Captioner, CaptionOptions
    from lineup.runtime import Runtime

    options = CaptionOptions(beams=beams, max_tokens=max_tokens, prompt=prompt)
    paths = images_from_arguments(images)
    failures: list[Path] = []
    runtime = Runtime(**place)
    with runtime.open(Captioner, captioner or DEFAULT_BUNDLE) as opened:
        # An unfit prompt or length ends the command before an image is read.
        opened.captions([], options)
        for batch in _batches(paths, opened.images_per_run(beams), failures):
            captions = opened.captions([pixels for _, pixels in batch], options)
            for (path, _), found in zip(batch, captions, strict=True):
                _show(path, found, as_json=as_json)
    if failures:
        sys.exit(SOME_FAILED)


def _batches(
    paths: Sequence[Path], size: int, failures: list[Path]
) -> Iterator[list[tuple[Path, RgbImage]]]:
    """Yield decoded images in batches; what cannot be decoded is reported and collected."""
    from lineup.errors import ImageError
    from lineup.reading import read_image

    messages = messages_console()
    # Captions on the same screen show well enough how far it is.
    shows_bar = messages.is_terminal and not sys.stdout.isatty() and len(paths) > 1
    batch: list[tuple[Path, RgbImage]] = []
    for path in tracked(paths, "caption", messages) if shows_bar else paths:
        try:
            batch.append((path, read_image(path).pixels))
        except ImageError as error:
            failures.append(path)
            say(f"Error: {error.one_line}", err=True)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _show(path: Path, found: Caption, *, as_json: bool) -> None:
    if not as_json:
        say(f"{path}: {found.text}")
        return
    record = {
        "path": str(path),
        "caption": found.text,
        "token_ids": list(found.token_ids),
        "log_probability": round(found.log_probability, 6),
    }
    echo_json(record, indent=None)
