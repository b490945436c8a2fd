"""`lineup captions`: what to ask a generator behind an API for, one JSON line per image."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.lineup_options import lineup_option
from lineup.cli.options import device_option, threads_option
from lineup.cli.progress import SOME_FAILED, images_from_arguments, tracked
from lineup.cli.streams import INTERRUPTED
from lineup.cli.tables import messages_console, say
from lineup.finding import check_output
from lineup.text import short_digest

if TYPE_CHECKING:
    from lineup.models.captioner import Captioner
    from lineup.stored.captions import CaptionFile


@click.command(short_help="Write what to ask a generator behind an API for.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--output",
    "-o",
    required=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON lines; a file that holds some already is gone on with.",
)
@lineup_option("pocket")
@click.option(
    "--gamma",
    type=click.IntRange(min=1),
    help="Pictures to ask each generator for, per image.  [default: the lineup's]",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Seed of the first picture, for generators that take one.  [default: the lineup's]",
)
@device_option
@threads_option
def captions(
    images: tuple[str, ...],
    output: Path,
    lineup: str | None,
    gamma: int | None,
    seed: int | None,
    **place: Any,
) -> None:
    """Caption each IMAGE, and name the pictures that are to be made of the caption.

    IMAGE is an image, a folder (searched through) or a pattern. A line has sha256, path, caption,
    seeds, width and height of the image, and the names of the pictures to make, without suffix: put
    them into a folder under these names, and `lineup resyntheses add NAME FOLDER --captions FILE`
    takes them in. The captioner is the lineup's, and captions as it does when it attributes.

    Exit code: 0 every image has a line, 1 some could not be read, 2 wrong usage.
    """
    from lineup.errors import UsageError
    from lineup.lineups.store import DEFAULT_LINEUP, open_lineup
    from lineup.models.captioner import Captioner
    from lineup.options import Mode, options_from_mode
    from lineup.runtime import Runtime
    from lineup.stored.captions import CaptionFile

    opened = open_lineup(lineup or DEFAULT_LINEUP)
    spec = opened.spec
    if spec.captioner is None:
        raise UsageError(
            f"The lineup {spec.name!r} has no captioner.", hint="Name one that has: --lineup NAME."
        )
    given = {"gamma": gamma, "seed": seed}
    changes = {key: value for key, value in given.items() if value is not None}
    settings = options_from_mode(Mode.DEFAULT, spec.resynthesis, changes)
    paths = images_from_arguments(images)
    check_output(output, paths)
    with Runtime(**place).open(Captioner, opened.bundle(spec.captioner)) as captioner:
        name = f"{captioner.name}@{short_digest(captioner.digest)}"
        file = CaptionFile(output, name, settings.seeds)
        present = len(file.rows)
        try:
            failed = _write(file, paths, captioner)
        except KeyboardInterrupt:
            say(f"interrupted after {len(file.rows)} captions; run again to go on", err=True)
            sys.exit(INTERRUPTED)
    say(
        f"{output}: {len(file.rows) - present} new captions, {len(file.rows)} in all, "
        f"{failed} failed"
    )
    if failed:
        sys.exit(SOME_FAILED)


def _write(file: CaptionFile, paths: list[Path], captioner: Captioner) -> int:
    """Add a row per image that has none; return how many could not be read."""
    from lineup.errors import ImageError
    from lineup.reading import read_image

    failed = 0
    console = messages_console()
    for path in tracked(paths, "captions", console):
        try:
            image = read_image(path)
        except ImageError as error:
            failed += 1
            say(f"Error: {error.one_line}", console=console)
            continue
        if image.sha256 not in file.rows:
            # One at a time, as when it attributes: a batch may differ in the last bit.
            (found,) = captioner.captions([image.pixels])
            if not found.text.strip():
                failed += 1
                say(f"Error: {path}: the captioner has no words for it.", console=console)
                continue
            size = {"width_px": image.width_px, "height_px": image.height_px}
            file.add(image.sha256, path, found.text, **size)
    return failed
