"""Numbers that no command can mean are usage errors, and hints name what a user has."""

import ast
import json
import re
import struct
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import lineup
from lineup.cli.main import ELSEWHERE, cli
from lineup.errors import ImageTooLargeError, UsageError
from lineup.imaging.header import MAX_SIDE_PX, DecodeLimits
from lineup.paths import shipped_dir


@pytest.mark.parametrize(
    "arguments",
    [
        ["synthesize", "pocket-elm", "--prompt", "x", "-o", "out", "--width", "1000000"],
        ["synthesize", "pocket-elm", "--prompt", "x", "-o", "out", "--height", "1000000"],
        ["synthesize", "pocket-elm", "--prompt", "x", "-o", "out", "--seed", "-1"],
        ["synthesize", "pocket-elm", "--prompt", "x", "-o", "out", "--count", "1000000000000"],
        ["attribute", "x.png", "--lineup", "pocket", "--seed", "-1"],
        ["attribute", "x.png", "--threads", "-1"],
        ["scan", "x.png", "--max-pixels", "0"],
        ["eval", "verification", "x", "--seed", "-1"],
        ["eval", "wild", "x", "--seed", "-1"],
        ["calibrate", "x", "--seed", str(2**32)],
        ["plot", "map", "x", "-o", "m.png", "--seed", "-1"],
    ],
)
def test_an_impossible_number_is_wrong_usage(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, arguments)

    assert result.exit_code == 2 or isinstance(result.exception, UsageError), result.exception
    assert list(tmp_path.iterdir()) == []


ASH = str(shipped_dir() / "samples" / "pocket" / "ash.png")
BILLION = "1000000000"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["attribute", ASH, "--lineup", "pocket", "--gamma", "1001"], "expected 1 to 1000"),
        (["scan", ASH, "--lineup", "pocket", "--gamma", BILLION], "expected 1 to 1000"),
        (["plan", "pocket", "--gamma", BILLION], "expected 1 to 1000"),
        (["bench", "pocket", "--gamma", BILLION], "expected 1 to 1000"),
        (["attribute", ASH, "--threads", BILLION], "expected 0 to 1024"),
        (["bench", "pocket-clip", "--iterations", BILLION], "1<=x<=1000000"),
        (["bench", "pocket-clip", "--duration", "inf"], "0<=x<=86400"),
        (["bench", "pocket-clip", "--size", BILLION], "16<=x<=8192"),
        (["eval", "verification", "x", "--bootstrap", BILLION], "100<=x<=100000"),
    ],
)
def test_no_number_is_so_large_that_a_command_never_ends(
    tmp_path, monkeypatch, arguments, expected
):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, arguments)

    assert result.exit_code == 2 or isinstance(result.exception, UsageError), result.exception
    assert expected in result.output + str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_the_hint_of_a_limit_names_an_option_there_is():
    limits = DecodeLimits(max_pixels=1, max_bytes=1)

    with pytest.raises(ImageTooLargeError) as caught:
        limits.check_pixels(2, 2)
    assert caught.value.hint.endswith("lineup scan --max-pixels 4")
    with pytest.raises(ImageTooLargeError) as caught:
        limits.check_bytes(2)
    assert "DecodeLimits" not in caught.value.hint
    with pytest.raises(ImageTooLargeError) as caught:
        limits.check_pixels(MAX_SIDE_PX + 1, 1)
    assert "--max-pixels" not in caught.value.hint


@pytest.mark.parametrize("arguments", [("scan", "--max-pixels", "99"), ("attribute",)])
def test_a_row_over_a_limit_says_what_to_do(tmp_path, arguments):
    file = tmp_path / "large.bmp"
    side = 10 if arguments[0] == "scan" else 20_000
    file.write_bytes(
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 400, 0, 0, 54, 40, side, side, 1, 24, *[0] * 6)
    )

    result = CliRunner().invoke(cli, [*arguments, str(file), *["--json"][: arguments[0] != "scan"]])

    assert result.exit_code == 1
    message = json.loads(result.stdout)["error"]["message"]
    assert message.endswith(f"If the file can be trusted: lineup scan --max-pixels {side * side}")


def test_hints_name_options_that_there_are():
    # Of lineup export, lineup bench, and pip.
    options = {"--precision", "--compare-devices", "--upgrade"}
    commands = [(cli, click.Context(cli))]
    for command, context in commands:
        options |= {name for one in command.get_params(context) for name in one.opts}
        names = command.list_commands(context) if isinstance(command, click.Group) else ()
        for name in set(names) - set(ELSEWHERE):
            found = command.get_command(context, name)
            commands.append((found, click.Context(found, parent=context)))
    hints = [
        ast.unparse(keyword.value)
        for path in Path(lineup.__file__).parent.rglob("*.py")
        for keyword in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(keyword, ast.keyword) and keyword.arg == "hint"
    ]

    unknown = [
        (hint, set(re.findall(r"(?<![-\w])--[a-z][-a-z]*", hint)) - options) for hint in hints
    ]

    assert len(hints) > 50
    assert [hint for hint, names in unknown if names] == []
