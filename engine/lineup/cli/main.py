"""The `lineup` program: a group that knows its commands by name and loads one when it runs.

`lineup --help` prints from the table below and imports no command, so it stays under 0.3 s.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import NoReturn

import click

from lineup._version import __version__
from lineup.errors import LineupError, did_you_mean, require_extra


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command lives, and its line in `lineup --help`.

    Attributes:
        target: "module:attribute" of a click command.
        short_help: The line shown by the group; equal to the command's own (a test compares).
    """

    target: str
    short_help: str


COMMANDS: dict[str, LazyCommand] = {
    "attribute": LazyCommand(
        "lineup.cli.attribute:attribute", "Tell which known source made an image."
    ),
    "bench": LazyCommand("lineup_lab.cli.bench:bench", "Measure latency, throughput and memory."),
    "build": LazyCommand(
        "lineup.cli.build:build", "Compile a bundle for this CPU, or with TensorRT."
    ),
    "cache": LazyCommand("lineup.cli.cache:cache", "Show and clear what is kept for speed."),
    "calibrate": LazyCommand(
        "lineup_lab.cli.calibrate:calibrate", "Fit what a lineup's scores mean on labelled images."
    ),
    "caption": LazyCommand("lineup.cli.caption:caption", "Describe images in words."),
    "classify": LazyCommand(
        "lineup.cli.classify:classify", "Name the class of images by a fitted classifier."
    ),
    "demo": LazyCommand(
        "lineup.cli.demo:demo", "Try lineup on the sample images that come with it."
    ),
    "doctor": LazyCommand("lineup.cli.doctor:doctor", "Show versions, usable devices and folders."),
    "enroll": LazyCommand("lineup.cli.enroll:enroll", "Add images of a source to the gallery."),
    "eval": LazyCommand("lineup_lab.cli.eval:evaluate", "Measure accuracy on labelled images."),
    "export": LazyCommand("lineup_export.cli:export", "Turn models into bundles for the runtime."),
    "fit-open-set": LazyCommand(
        "lineup_lab.cli.fit_open_set:fit_open_set",
        "Fit a classifier of known sources and the unknown.",
    ),
    "gallery": LazyCommand("lineup.cli.gallery:gallery", "List and manage known sources."),
    "lineups": LazyCommand(
        "lineup.cli.lineups:lineups", "List and make sets of models that answer together."
    ),
    "models": LazyCommand("lineup.cli.models:models", "List and manage model bundles."),
    "plan": LazyCommand("lineup.cli.plan:plan", "Show what a scan needs in memory and time."),
    "plot": LazyCommand("lineup_lab.cli.plot:plot", "Draw spectra and maps of labelled images."),
    "report": LazyCommand("lineup.cli.report:report", "Render a scan as a page to look at."),
    "scan": LazyCommand("lineup.cli.scan:scan", "Attribute many images, one row each."),
    "synthesize": LazyCommand(
        "lineup.cli.synthesize:synthesize", "Make images of a candidate from a prompt."
    ),
    "train": LazyCommand("lineup_models.cli:train", "Fit models from photographs."),
    "verify": LazyCommand("lineup.cli.verify:verify", "Test whether one source made an image."),
}


EXTRA_OF_PACKAGE = {"lineup_export": "export", "lineup_lab": "eval", "lineup_models": "train"}
"""What installs the packages beside the runtime, which commands are looked up in."""


class LazyGroup(click.Group):
    """A click group over `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return the command; None when there is no such name."""
        entry = COMMANDS.get(cmd_name)
        return None if entry is None else _command_from_entry(entry)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first argument names; a wrong name gets a suggestion."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            hint = did_you_mean(name, COMMANDS) or "`lineup --help` lists the commands."
            ctx.fail(f"No such command {name!r}. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command table from `COMMANDS`, importing nothing."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].short_help) for name in sorted(COMMANDS)])


def _command_from_entry(entry: LazyCommand) -> click.Command:
    module_name, attribute = entry.target.split(":")
    package = module_name.partition(".")[0]
    if package in EXTRA_OF_PACKAGE:
        require_extra(EXTRA_OF_PACKAGE[package], [package])
    command = getattr(importlib.import_module(module_name), attribute)
    assert isinstance(command, click.Command)
    return command


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
    try:
        # Without standalone mode, click returns the code of `ctx.exit`, or None at the end.
        exit_code = cli.main(prog_name="lineup", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except LineupError as error:
        click.echo(f"Error: {error.message}", err=True)
        if error.hint:
            click.echo(error.hint, err=True)
        sys.exit(error.exit_code)
    sys.exit(exit_code or 0)
