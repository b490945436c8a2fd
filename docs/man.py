"""Write the manual pages, lineup.1 and one per command, from the commands themselves.

    python docs/man.py [DIR]

DIR is `~/.local/share/man/man1` unless given, which `man` searches; for all users of a machine it
is /usr/local/share/man/man1. Nothing else is needed: `man lineup`, `man lineup-scan`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from lineup._version import __version__
from lineup.cli.main import cli

DEFAULT = Path("~/.local/share/man/man1")


def pages() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every page."""
    yield from _pages(cli, click.Context(cli, info_name="lineup"))


def _pages(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    name = context.command_path.replace(" ", "-")
    yield name, "\n".join(_lines(name, command, context)) + "\n"
    if isinstance(command, click.Group):
        for one in command.list_commands(context):
            inner = command.get_command(context, one)
            assert inner is not None
            yield from _pages(inner, click.Context(inner, parent=context, info_name=one))


def _lines(name: str, command: click.Command, context: click.Context) -> Iterator[str]:
    yield f'.TH "{name.upper()}" "1" "" "lineup {__version__}" "lineup"'
    yield ".SH NAME"
    about = command.short_help or command.get_short_help_str(200)
    yield f"{_text(name)} \\- {_text(about.rstrip('.'))}"
    yield ".SH SYNOPSIS"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"\\fB{_text(context.command_path)}\\fR {_text(usage)}"
    yield ".SH DESCRIPTION"
    yield from _paragraphs(command.help or about)
    records = [one.get_help_record(context) for one in command.get_params(context)]
    options = [record for record in records if record is not None and record[1]]
    yield from _listed("OPTIONS", options)
    if isinstance(command, click.Group):
        commands = [
            (one, command.get_command(context, one)) for one in command.list_commands(context)
        ]
        rows = [
            (one, found.get_short_help_str(200)) for one, found in commands if found is not None
        ]
        yield from _listed("COMMANDS", rows)
        shown = [f".BR {_text(f'{name}-{one}')} (1)" for one, _ in commands]
        yield from [".SH SEE ALSO", *shown]
    elif context.parent is not None:
        above = context.parent.command_path.replace(" ", "-")
        yield from [".SH SEE ALSO", f".BR {_text(above)} (1)"]


def _listed(title: str, rows: list[tuple[str, str]]) -> Iterator[str]:
    if rows:
        yield f".SH {title}"
    for term, text in rows:
        yield from [".TP", f"\\fB{_text(term)}\\fR", _text(" ".join(text.split()))]


def _paragraphs(text: str) -> Iterator[str]:
    """Yield paragraphs; lines after click's mark for it are kept as they are."""
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if number:
            yield ".PP"
        if paragraph.lstrip().startswith("\b"):
            kept = paragraph.replace("\b", "").strip("\n").splitlines()
            yield from [".nf", *map(_text, kept), ".fi"]
        else:
            yield _text(" ".join(paragraph.split()))


def _text(text: str) -> str:
    """Return text in which roff sees no command of its own."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def main() -> None:
    """Write the pages, and say where they are."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else DEFAULT).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages():
        (folder / f"{name}.1").write_text(text, encoding="utf-8")
    sys.stdout.write(f"{folder}\n")


if __name__ == "__main__":
    main()
