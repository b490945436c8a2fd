"""Lines, tables, sizes and JSON as commands print them."""

from __future__ import annotations

import json
import textwrap
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from lineup.text import shown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

LINE_COLUMNS = 80
PIPE_COLUMNS = 160
"""Width where stdout is no terminal, which has no width to fit into."""

UNBROKEN_COLUMNS = 1000
"""Wide enough that no cell is wrapped: a wrapped hash cannot be searched for."""


def say(
    text: object, *, err: bool = False, console: Console | None = None, style: str | None = None
) -> None:
    """Print one line in which no character takes effect: names in it may come from a stranger.

    Args:
        text: What to print.
        err: On standard error, in place of standard output. A message that cannot be written there
            ends nothing.
        console: Where it goes instead, e.g. above a bar.
        style: Of the console.
    """
    line = shown(str(text))
    if console is not None:
        console.print(line, markup=False, highlight=False, soft_wrap=True, style=style)
    elif not err:
        click.echo(line)  # noqa: TID251
    else:
        with suppress(OSError):
            click.echo(line, err=True)  # noqa: TID251


def say_paragraph(text: str, *, console: Console | None = None, style: str | None = None) -> None:
    """Print a text in lines of at most `LINE_COLUMNS`; see `say`."""
    for line in textwrap.wrap(shown(text), LINE_COLUMNS):
        say(line, console=console, style=style)


def console_for_tables(columns_in_pipe: int = PIPE_COLUMNS) -> Console:
    """Return a console on stdout.

    Args:
        columns_in_pipe: Width where stdout is no terminal.
    """
    from rich.console import Console

    class TableConsole(Console):
        """Lets `streams` say what a reader that left means; rich would end with code 1."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    console = TableConsole(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, columns_in_pipe)
    return console


def messages_console() -> Console:
    """Return where progress and failures go: standard error."""
    from rich.console import Console

    return Console(stderr=True)


def plain_table(*columns: str, show_header: bool = True) -> Table:
    """Return a table without lines, whose cells are folded rather than cut."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=show_header, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def figures_table(*columns: str, texts: int = 1, **look: Any) -> Table:
    """Return a table of figures, which stand to the right.

    Args:
        columns: Their headings.
        texts: How many columns are no figures, from the left.
        look: Of rich's table.
    """
    from rich.table import Table

    table = Table(*columns, **look)
    for column in table.columns[texts:]:
        column.justify = "right"
    return table


def add_row(table: Table, *cells: str, style: str | None = None) -> None:
    """Add a row of foreign text: neither markup nor control characters of it take effect."""
    from rich.text import Text

    texts = (Text("\n".join(map(shown, cell.split("\n")))) for cell in cells)
    table.add_row(*texts, style=style)


def print_table(table: Table) -> None:
    """Print a table on stdout, with an empty line after it."""
    console = console_for_tables(UNBROKEN_COLUMNS)
    console.print(table)
    console.print()


def size_text(size_bytes: int) -> str:
    """Return a size for people, e.g. "2.9 MB"."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def echo_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value as JSON on stdout, in ASCII: every terminal and pipe takes it.

    Args:
        value: Any JSON value.
        indent: Spaces of a level; None puts all on one line.
    """
    click.echo(json.dumps(value, indent=indent))  # noqa: TID251
