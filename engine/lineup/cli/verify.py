"""`lineup verify`: did this source make this image?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.options import complete_sources, engine_options, json_option
from lineup.cli.progress import images_from_arguments
from lineup.cli.tables import echo_json, say
from lineup.errors import UsageError

if TYPE_CHECKING:
    from lineup.results import Verification


@click.command(short_help="Test whether one source made an image.")
@click.argument("image")
@click.option(
    "--source",
    required=True,
    metavar="NAME",
    shell_complete=complete_sources,
    help="A source of the gallery.",
)
@engine_options
@json_option
def verify(image: str, source: str, as_json: bool, **place: Any) -> None:
    """Test whether the source NAME made IMAGE.

    Says "match" when that is likelier than not at even prior odds, and how often the gallery's
    other images match it as well. IMAGE is a file, or a pattern that stands for one.
    """
    from lineup.engine import open_engine

    paths = images_from_arguments([image])
    if len(paths) > 1:
        raise UsageError(
            f"{image} stands for {len(paths)} images, and verify tests one.",
            hint="`lineup scan` has the evidence for every source, image by image.",
        )
    with open_engine(**place) as engine:
        result = engine.verify(paths[0], source)
    if as_json:
        echo_json({"path": str(paths[0]), **result.to_dict()}, indent=None)
        return
    answer = "match" if result.accepted else "no match"
    say(f"{paths[0]}: {answer} with {source}, {100 * result.probability:.1f} % at even odds")
    say(
        f"{result.score:.1f} deviations above others, by {result.support} images, "
        f"log likelihood ratio {result.llr:+.2f}"
    )
    say(_accepts_text(result))
    say(f"of {source}'s own images {_percent(result.false_reject_rate)} match less")
    for note in result.notes:
        say(f"note: {note}")


def _accepts_text(result: Verification) -> str:
    """Say what the false-accept rate is measured on, and what so many images can show at most."""
    from lineup.gallery.scoring import highest_rate

    if not result.others:
        return "the gallery has no other images: how often others match as well is not known"
    hits = round(result.false_accept_rate * result.others)
    limit = 100 * highest_rate(hits, result.others)
    sources = f"{result.other_sources} other source{'' if result.other_sources == 1 else 's'}"
    return (
        f"{hits} of {result.others} images of {sources} match at least as well, "
        f"so below {limit:.1f} % of such images do"
    )


def _percent(rate: float) -> str:
    return "(none to compare with)" if math.isnan(rate) else f"{100 * rate:.1f} %"
