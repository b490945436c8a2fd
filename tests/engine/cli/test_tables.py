import json

import pytest
from rich.console import Console

from lineup.cli.tables import add_row, echo_json, plain_table, print_table, say, size_text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_900_000, "2.9 MB"), (10**10, "10.0 GB")],
)
def test_sizes_for_people(size_bytes, text):
    assert size_text(size_bytes) == text


def test_foreign_text_takes_no_effect_and_is_not_wrapped_in_a_pipe(capsys):
    table = plain_table("name", "hash")
    add_row(table, "[bold]\x1b[31mred", "f" * 300)

    print_table(table)

    row = capsys.readouterr().out.splitlines()[1]
    assert row.split() == ["[bold]\\x1b[31mred", "f" * 300]


@pytest.mark.parametrize("where", ["stdout", "stderr", "console"])
def test_a_line_takes_no_effect(capsys, where):
    console = Console(stderr=True, width=20) if where == "console" else None

    say("[red]\x1b]0;title\x07.png" + "x" * 30, err=where == "stderr", console=console)

    out, err = capsys.readouterr()
    assert (out or err) == "[red]\\x1b]0;title\\x07.png" + "x" * 30 + "\n"
    assert bool(out) == (where == "stdout")


def test_json_is_ascii_and_exact(capsys):
    value = {"name": "\U0001f600\x9b\udcff"}

    echo_json(value, indent=None)

    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == value
