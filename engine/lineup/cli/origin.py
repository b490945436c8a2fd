"""`lineup origin`: what image files say of themselves."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from lineup.cli.options import json_option
from lineup.cli.progress import SOME_FAILED, failure_line, images_from_arguments

NOTHING = "Declares nothing, which is no evidence of a photograph."


@click.command(short_help="Show what image files declare of their origin.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@json_option
def origin(*, paths: tuple[str, ...], as_json: bool) -> None:
    """Show what each file at PATH declares of its origin, and what vouches for it.

    PATH is an image, a folder (searched through) or a pattern. Read are C2PA credentials (who
    signed, whether signature and hashes hold, whether the signer is on the C2PA trust list), texts
    of generators, EXIF, XMP, China's AIGC label, and the open watermarks of Stable Diffusion, FLUX
    and InvokeAI. Nothing is fetched. A claim is a claim: all but what is signed can be written by
    anybody, and a file that declares nothing may be of any origin.

    Exit code: 0 every file was read, 1 some could not be, 2 wrong usage.
    """
    failed = 0
    for path in images_from_arguments(paths):
        failed += not _show(path, as_json=as_json)
    if failed:
        raise click.exceptions.Exit(SOME_FAILED)


def _show(path: Path, *, as_json: bool) -> bool:
    """Print what one file declares; tell whether it could be read."""
    from lineup.cli.explain import print_origin
    from lineup.cli.tables import console_for_tables, echo_json, say
    from lineup.errors import ImageError
    from lineup.imaging.decode import bytes_from_path, image_from_bytes
    from lineup.origin import origin_from_file

    try:
        data, image = bytes_from_path(path), None
        with suppress(ImageError):  # what a damaged file says beside its pixels can still be read
            image = image_from_bytes(data)
        declared = origin_from_file(data, image)
    except ImageError as error:
        say(f"Error: {failure_line(path, error.one_line)}", err=True)
        return False
    if as_json:
        echo_json({"path": str(path), **declared.to_dict()}, indent=None)
        return True
    console = console_for_tables()
    say(path, console=console, style="bold")
    print_origin(console, declared)
    if not declared.claims and not declared.notes:
        console.print(NOTHING, style="dim")
    console.print()
    return True
