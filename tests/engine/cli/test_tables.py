import pytest

from lineup.cli.tables import add_row, plain_table, print_table, size_text


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
    assert row.split() == ["[bold]?[31mred", "f" * 300]
