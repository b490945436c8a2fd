"""Options that several commands share, written once so that they read alike everywhere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from lineup.errors import LineupError

Command = TypeVar("Command", bound=Callable[..., Any])


def all_of(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Return what adds options to a command, whose help shows them in the order given."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def given_options(*others: str) -> list[str]:
    """Return what the command that runs was given on its line, e.g. "--batch", but for `others`."""
    context = click.get_current_context()
    return [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in others
        and context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    ]


def names_from_text(text: str) -> tuple[str, ...]:
    """Return what a comma-separated list names, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def complete_sources(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Return the known sources that a name being typed may become."""
    from lineup.gallery.opening import source_entries

    with suppress(LineupError):  # who completes a name is told of no problem
        names = {entry.name for entry in source_entries()}
        return sorted(name for name in names if name.startswith(incomplete))
    return []


def complete_lineups(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Return the lineups that a name being typed may become."""
    from lineup.lineups.store import lineup_folders

    return sorted(name for name in lineup_folders() if name.startswith(incomplete))


def complete_bundles(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Return the bundles that a name being typed may become."""
    from lineup.runtime import Runtime

    names = (entry.name for entry in Runtime().store.list())
    return [name for name in names if name.startswith(incomplete)]


device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda|tensorrt|...",
    help="Where to run: auto (a GPU by CUDA, else what `lineup bench NAME --compare-devices` found "
    "to be fastest, else cpu), cpu, cuda, tensorrt (compiles at the first run), "
    "tensorrt-native and tensorrt-rtx (engines of `lineup build`), or openvino, openvino:gpu and "
    "openvino:npu; a second GPU as in cuda:1, OpenVINO's precision as in openvino:cpu:f32. "
    "A device that is asked for and not usable is an error.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
threads_option = click.option(
    "--threads",
    type=click.IntRange(min=0),
    default=0,
    show_default="all cores",
    help="Threads of the model on the CPU.",
)
fingerprint_option = click.option(
    "--fingerprint",
    metavar="BUNDLE",
    default=None,
    shell_complete=complete_bundles,
    help="Fingerprint bundle, by name or path.  [default: the shipped one]",
)
gallery_option = click.option(
    "--gallery",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=None,
    help="Gallery folder.  [default: the shipped gallery and your own enrolments]",
)
batch_option = click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Images per call of the model.",
)

ENGINE_CHOICES = ("device", "threads", "fingerprint", "gallery")
"""What `engine_options` adds; `lineup.engine.open_engine` takes it as it is."""

engine_options = all_of(device_option, threads_option, fingerprint_option, gallery_option)
