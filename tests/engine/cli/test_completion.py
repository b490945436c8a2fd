"""Names that the shell completes."""

import pytest
from click.shell_completion import ShellComplete

from lineup.cli.main import cli


def completed(*typed: str) -> list[str]:
    *arguments, incomplete = typed
    found = ShellComplete(cli, {}, "lineup", "_LINEUP_COMPLETE").get_completions(
        arguments, incomplete
    )
    return [item.value for item in found]


@pytest.mark.parametrize(
    "typed",
    [
        ("verify", "image.png", "--source", "dalle"),
        ("gallery", "show", "dalle"),
        ("gallery", "remove", "dalle"),
        ("gallery", "export", "--source", "dalle"),
        ("enroll", "dalle"),
    ],
)
def test_sources(typed):
    assert completed(*typed) == ["dalle-mini", "dalle3"]


@pytest.mark.parametrize(
    "typed",
    [
        ("attribute", "--lineup", "po"),
        ("scan", "--lineup", "po"),
        ("lineups", "show", "po"),
        ("plan", "po"),
    ],
)
def test_lineups(typed):
    assert completed(*typed) == ["pocket"]


@pytest.mark.parametrize(
    "typed",
    [
        ("models", "show", "pocket-c"),
        ("models", "verify", "pocket-c"),
        ("build", "pocket-c"),
        ("scan", "--fingerprint", "pocket-c"),
    ],
)
def test_bundles(typed):
    assert completed(*typed) == ["pocket-captioner", "pocket-cedar", "pocket-clip"]


def test_a_gallery_that_cannot_be_read_completes_nothing(lineup_home):
    (lineup_home / "gallery").mkdir()
    (lineup_home / "gallery" / "manifest.json").write_text("no JSON")

    assert completed("enroll", "dalle") == []
