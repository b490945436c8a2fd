"""The `lineup` program: a group that knows its commands by name and loads one when it runs.

`lineup --help` prints from the table below and imports no command, so it stays under 0.3 s.
"""

from __future__ import annotations

import importlib
import io
import sys
from typing import Any, NoReturn

import click

from lineup._version import __version__
from lineup.cli.streams import INTERRUPTED, flush_messages, prepare_streams, world_told
from lineup.cli.tables import say
from lineup.errors import LineupError, did_you_mean, require_extra

COMMANDS = {
    "attribute": "Tell which known source made an image.",
    "bench": "Measure latency, throughput and memory.",
    "build": "Compile a bundle for this CPU, or with TensorRT or OpenVINO.",
    "cache": "Show and clear what is kept for speed.",
    "calibrate": "Fit what a lineup's scores mean on labelled images.",
    "caption": "Describe images in words.",
    "captions": "Write what to ask a generator behind an API for.",
    "classify": "Name the class of images by a fitted classifier.",
    "demo": "Try lineup on the sample images that come with it.",
    "doctor": "Show versions, usable devices and folders.",
    "enroll": "Add images of a source to the gallery.",
    "eval": "Measure accuracy on labelled images.",
    "export": "Turn models into bundles for the runtime.",
    "fit-open-set": "Fit a classifier of known sources and the unknown.",
    "gallery": "List and manage known sources.",
    "lineups": "List and make sets of models that answer together.",
    "models": "List and manage model bundles.",
    "origin": "Show what image files declare of their origin.",
    "plan": "Show what a scan needs in memory and time.",
    "plot": "Draw spectra and maps of labelled images.",
    "report": "Render a scan as a page to look at.",
    "resyntheses": "Keep pictures that others made of captions.",
    "scan": "Attribute many images, one row each.",
    "serve": "Answer over HTTP, with a page to drop images on.",
    "synthesize": "Make images of a candidate from a prompt.",
    "train": "Fit models from photographs.",
    "verify": "Test whether one source made an image.",
    "watch": "Attribute images as they arrive in a folder.",
}
"""Each command's line in `lineup --help`; equal to the command's own (a test compares)."""

ELSEWHERE = {
    "bench": "lineup_lab.cli.bench:bench",
    "calibrate": "lineup_lab.cli.calibrate:calibrate",
    "eval": "lineup_lab.cli.eval:evaluate",
    "export": "lineup_export.cli:export",
    "fit-open-set": "lineup_lab.cli.fit_open_set:fit_open_set",
    "plot": "lineup_lab.cli.plot:plot",
    "train": "lineup_models.cli:train",
}
"""Module and attribute of the commands that are not `lineup.cli.NAME:NAME`."""

EXTRA_OF_PACKAGE = {"lineup_export": "export", "lineup_lab": "eval", "lineup_models": "train"}
"""What installs the packages beside the runtime, which commands are looked up in."""


class LazyGroup(click.Group):
    """A click group over `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return the command; None when there is no such name."""
        if cmd_name not in COMMANDS:
            return None
        target = ELSEWHERE.get(cmd_name, f"lineup.cli.{cmd_name}:{cmd_name}")
        module_name, attribute = target.split(":")
        package = module_name.partition(".")[0]
        if package in EXTRA_OF_PACKAGE:
            require_extra(EXTRA_OF_PACKAGE[package], [package])
        command = getattr(importlib.import_module(module_name), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first argument names; a wrong name gets a suggestion."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            hint = did_you_mean(name, COMMANDS) or "`lineup --help` lists the commands."
            ctx.fail(f"No such command {name!r}. {hint}")
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the arguments; `--help` prints here."""
        with world_told():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with world_told():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command table from `COMMANDS`, importing nothing."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", "-V", message="lineup %(version)s")
def cli() -> None:
    """Tell which AI generator made an image, on the machine where the image is.

    \b
    Try:  lineup demo
          lineup attribute IMAGE
          lineup scan FOLDER --output results.jsonl

    \b
    Shell completion for bash (zsh and fish alike):
    eval "$(_LINEUP_COMPLETE=bash_source lineup)"
    """  # noqa: D301 - click reads the character, not the two letters, as "keep these lines"


def main() -> NoReturn:
    """Run the program; a `LineupError` becomes a message on stderr and an exit code."""
    prepare_streams()
    try:
        # Without standalone mode, click returns the code of `ctx.exit`, or None at the end.
        exit_code = cli.main(prog_name="lineup", standalone_mode=False)
    except click.exceptions.Abort:
        say("Interrupted.", err=True)
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        text = io.StringIO()
        error.show(text)
        for line in text.getvalue().splitlines():
            say(line, err=True)
        sys.exit(error.exit_code)
    except LineupError as error:
        say(f"Error: {error.message}", err=True)
        if error.hint:
            say(error.hint, err=True)
        sys.exit(error.exit_code)
    finally:
        flush_messages()
    sys.exit(exit_code or 0)
