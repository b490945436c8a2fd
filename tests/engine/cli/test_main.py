import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from lineup._version import __version__
from lineup.cli import main as program
from lineup.cli.main import COMMANDS, cli
from lineup.errors import LineupError, MissingExtraError, UsageError, require_extra


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "lineup", *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_table_tells_the_truth_about_each_command(name):
    command = cli.get_command(click.Context(cli), name)

    assert command.name == name
    assert command.get_short_help_str(limit=100) == COMMANDS[name]


def commands_below(command, context):
    yield context, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            yield from commands_below(below, click.Context(below, context, info_name=name))


def test_help_of_every_command_is_clean_and_fits_a_screen():
    wrong = [
        f"{context.command_path}: {line}"
        for context, command in commands_below(cli, click.Context(cli, info_name="lineup"))
        for line in command.get_help(context).splitlines()
        if "\b" in line or "\\b" in line or len(line) > 100
    ]

    assert wrong == []


def test_help_lists_every_command():
    output = CliRunner().invoke(cli, ["--help"]).output

    assert "  Try:  lineup demo\n" in output
    assert [name for name in COMMANDS if f"\n  {name} " not in output] == []


def test_version():
    assert CliRunner().invoke(cli, ["--version"]).output == f"lineup {__version__}\n"


def test_an_unknown_command_is_a_usage_error():
    done = run("qqq")

    assert done.returncode == 2
    assert "No such command 'qqq'. `lineup --help` lists the commands." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["atribute", "x.png"], "attribute"),
        (["fit-openset"], "fit-open-set"),
        (["attribute", "IMAGE", "--evidence", "fingerprnt"], "fingerprint"),
        (["attribute", "IMAGE", "--lineup", "pockt"], "pocket"),
        (["attribute", "IMAGE", "--fingerprint", "whitened-spectrm"], "whitened-spectrum"),
        (["gallery", "show", "dalle4"], "dalle3"),
    ],
)
def test_a_wrong_name_is_a_usage_error_with_a_suggestion(
    monkeypatch, capsys, red_image, arguments, meant
):
    arguments = [str(red_image) if one == "IMAGE" else one for one in arguments]
    monkeypatch.setattr(sys, "argv", ["lineup", *arguments])

    with pytest.raises(SystemExit) as exit_info:
        program.main()

    assert exit_info.value.code == 2
    assert f"Did you mean {meant!r}?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"), [(LineupError("broken", hint="mend it"), 1), (UsageError("wrong"), 2)]
)
def test_an_error_of_lineup_becomes_a_message_and_an_exit_code(monkeypatch, capsys, error, code):
    def fail(**kwargs):
        raise error

    monkeypatch.setattr(program.cli, "main", fail)

    with pytest.raises(SystemExit) as exit_info:
        program.main()

    assert exit_info.value.code == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [f"Error: {error.message}", *filter(None, [error.hint])]


def test_interrupt_exits_with_130(monkeypatch):
    def interrupted(**kwargs):
        raise click.exceptions.Abort

    monkeypatch.setattr(program.cli, "main", interrupted)

    with pytest.raises(SystemExit) as exit_info:
        program.main()

    assert exit_info.value.code == 130


def test_a_missing_extra_says_how_to_install_it():
    with pytest.raises(MissingExtraError, match="no_such_module") as error_info:
        require_extra("train", ["click", "no_such_module"])

    assert error_info.value.hint == "Install it with: pip install 'lineup-forensics[train]'"


@pytest.mark.parametrize(
    ("name", "extra"), [("bench", "eval"), ("eval", "eval"), ("train", "train")]
)
def test_a_command_of_a_package_that_is_absent_says_how_to_install_it(monkeypatch, name, extra):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(MissingExtraError, match="lineup_") as error_info:
        cli.get_command(click.Context(cli), name)

    assert error_info.value.hint == f"Install it with: pip install 'lineup-forensics[{extra}]'"


def test_completion_script_names_the_program():
    done = subprocess.run(
        [sys.executable, "-c", "from lineup.cli.main import main; main()"],
        env={"_LINEUP_COMPLETE": "bash_source", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "_lineup_completion" in done.stdout
