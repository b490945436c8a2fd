"""`lineup cache`: what is kept is shown, and cleared as asked."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from lineup.backends.graph_cache import GraphKey, graph_cache
from lineup.cli.main import cli
from lineup.paths import home_dir


def run(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["cache", *arguments], input=answer)


@pytest.fixture
def filled() -> None:
    def compile_to(folder):
        (folder / "engine.plan").write_bytes(b"plan")
        return folder / "engine.plan"

    key = GraphKey("a" * 64, "tensorrt", "10.3.0", "8.7")
    graph_cache().add(key, bundle="toy", role="unet", compile_to=compile_to)
    for name in (
        "cache/resyntheses/one.npz",
        "engines/x/engine.plan",
        "bundles/mine/manifest.json",
    ):
        path = home_dir() / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"12345")


@pytest.mark.usefixtures("filled")
def test_sizes_and_folders_are_shown() -> None:
    shown = json.loads(run("--json").stdout)
    kept = {one["what"]: one for one in shown["kept"]}
    assert kept["resyntheses"]["size_bytes"] == 5
    assert kept["resyntheses"]["path"] == str(home_dir() / "cache" / "resyntheses")
    assert (kept["graphs"]["files"], kept["verified"]["files"]) == (2, 0)
    (graph,) = shown["graphs"]
    assert (graph["bundle"], graph["machine"], graph["size_bytes"]) == ("toy", "8.7", 4)
    text = run().stdout
    assert "old-engines" in text
    assert "old-graphs" not in text
    assert "tensorrt 10.3.0" in text


@pytest.mark.usefixtures("filled")
def test_one_kind_or_all_are_cleared_and_bundles_never() -> None:
    assert run("clear", answer="n\n").exit_code == 1
    assert "removed graphs" in run("clear", "graphs", "--yes").stdout
    assert not list(graph_cache().list())
    assert (home_dir() / "cache" / "resyntheses").exists()
    run("clear", answer="y\n")
    assert not (home_dir() / "cache" / "resyntheses").exists()
    assert not (home_dir() / "engines").exists()
    assert (home_dir() / "bundles" / "mine" / "manifest.json").exists()
    assert "nothing" in run("clear").stdout


def test_what_is_not_kept_is_wrong_usage() -> None:
    assert run("clear", "bundles").exit_code == 2
