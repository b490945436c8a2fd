from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lineup.backends.graph_cache import GraphKey, graph_cache, graph_digest
from lineup.bundles.bundle import Bundle
from lineup.bundles.info import FingerprintInfo, Preprocess
from lineup.bundles.manifest import (
    BundleKind,
    Manifest,
    Origin,
    Parity,
    Precision,
    Source,
    TensorSpec,
)
from lineup.bundles.writer import BundleWriter
from lineup.cli.models import models
from lineup.errors import BundleNotFoundError, UsageError


def write_bundle(folder: Path, name: str = "toy", **changes: Any) -> Bundle:
    fields: dict[str, Any] = {
        "kind": BundleKind.FINGERPRINT,
        "name": name,
        "licence": "Apache-2.0",
        "source": Source(Origin.TRAINED, "toy-recipe", "r1"),
        "tools": {"torch": "2.6.0"},
        "precision": Precision.FP32,
        "graphs": {},
        "preprocess": Preprocess(tile_size_px=256),
        "fingerprint": FingerprintInfo(8, "whitened-residual-spectrum"),
        "created": "2026-01-31",
    }
    with BundleWriter(folder, Manifest(**{**fields, **changes})) as writer:
        writer.add_graph(
            "fingerprint",
            b"\x08\x08",  # an ONNX file that says its version, and nothing else
            inputs=[TensorSpec("tiles", "uint8", ("tiles", 256, 256, 3))],
            outputs=[TensorSpec("fingerprint", "float32", ("images", 8))],
            opset=17,
            parity=Parity("numpy float64", "max_relative_error", 1.234e-6, 1e-4, 3),
        )
        return writer.finish()


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINEUP_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("lineup.bundles.store.shipped_dir", lambda: tmp_path / "shipped")


@pytest.fixture
def toy(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "toy-folder")


def run(*arguments: object, answer: str | None = None) -> Result:
    return CliRunner().invoke(models, [str(argument) for argument in arguments], input=answer)


def test_install_list_show_verify_remove(toy: Bundle, tmp_path: Path) -> None:
    assert "installed toy in" in run("install", toy.path).stdout
    listed = run("list").stdout
    assert "toy" in listed
    assert "trained: toy-recipe" in listed
    assert "Apache-2.0" in listed
    assert run("verify", "toy").exit_code == 0
    done = run("remove", "toy", "--yes")
    assert (done.exit_code, done.stdout) == (0, "removed toy\n")
    assert list((tmp_path / "home" / "bundles").iterdir()) == []


def test_list_json(toy: Bundle, tmp_path: Path) -> None:
    write_bundle(tmp_path / "shipped" / "bundles" / "default", "default")
    run("install", toy.path)
    (tmp_path / "home" / "bundles" / "broken").mkdir()
    rows = json.loads(run("list", "--json").stdout)
    assert [(row["name"], row["shipped"]) for row in rows] == [
        ("broken", False), ("default", True), ("toy", False),
    ]  # fmt: skip
    assert rows[0]["kind"] is None
    assert "it has no manifest.json" in rows[0]["problem"]
    assert rows[2] == {
        "name": "toy",
        "path": str(tmp_path / "home" / "bundles" / "toy"),
        "shipped": False,
        "kind": "fingerprint",
        "precision": "fp32",
        "licence": "Apache-2.0",
        "source": "trained: toy-recipe",
        "size_bytes": 2,
        "problem": None,
    }


def test_list_names_what_cannot_be_read_on_stderr(tmp_path: Path) -> None:
    (tmp_path / "home" / "bundles" / "broken").mkdir(parents=True)
    done = run("list")
    assert "unreadable" in done.stdout
    assert "broken: " in done.stderr
    assert done.exit_code == 0


def test_an_empty_list_says_so_beside_the_results() -> None:
    done = run("list")
    assert "bundle" not in done.stdout
    assert "No bundle is installed" in done.stderr
    assert run("list", "--json").stdout == "[]\n"


def test_list_shows_what_can_be_exported() -> None:
    assert "sd-turbo" in run("list").stdout
    done = run("list", "--recipes")
    assert "stabilityai/sd-turbo" in done.stdout
    assert done.stderr == ""
    rows = {row["name"]: row for row in json.loads(run("list", "--recipes", "--json").stdout)}
    assert rows["sd-turbo"]["kind"] == "generator"
    assert rows["sd-turbo"]["components"] == ["text_encoder", "unet", "vae"]
    assert rows["sd-turbo"]["accept_licence"] is True


def test_show_tells_what_the_manifest_holds(toy: Bundle) -> None:
    run("install", toy.path)
    shown = run("show", "toy").stdout
    for part in (
        "fingerprint", "Apache-2.0", "trained: toy-recipe @ r1", "fp32", "torch 2.6.0",
        "tiles: uint8 [tiles, 256, 256, 3]", "fingerprint: float32 [images, 8]", "2 B",
        "max_relative_error 1.2e-06 of 0.0001 allowed, 3 inputs, against numpy float64",
        toy.digest, "tile_size_px 256", "whitened-residual-spectrum, 8 numbers",
    ):  # fmt: skip
        assert part in shown


def test_show_json_holds_the_manifest(toy: Bundle) -> None:
    shown = json.loads(run("show", toy.path, "--json").stdout)
    written = json.loads((toy.path / "manifest.json").read_text())
    assert written.pop("sha256")
    assert shown["manifest"] == written
    assert shown["digest"] == toy.digest


def test_text_of_a_manifest_is_neither_markup_nor_control(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "evil", licence="[red]x[/red]\x1b[31m")
    run("install", bundle.path)
    for shown in (run("show", "toy").stdout, run("list").stdout):
        assert "[red]x[/red]\\x1b[31m" in shown
        assert "\x1b" not in shown


def test_verify_has_a_line_per_file_and_fails_for_a_bad_one(toy: Bundle, tmp_path: Path) -> None:
    run("install", toy.path)
    run("install", write_bundle(tmp_path / "other", "other").path)
    (tmp_path / "home" / "bundles" / "toy" / "fingerprint.onnx").write_bytes(b"\x08")
    done = run("verify", "--all")
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "other: manifest.json: ok",
        "other: fingerprint.onnx: ok",
        "toy: manifest.json: ok",
        "toy: fingerprint.onnx: truncated: expected 2 bytes, found 1",
    ]
    assert "1 file cannot be trusted" in done.stderr
    assert run("verify", "other").exit_code == 0


@pytest.mark.parametrize("arguments", [(), ("toy", "--all")])
def test_verify_takes_names_or_all(arguments: tuple[str, ...]) -> None:
    done = run("verify", *arguments)
    assert done.exit_code == 2
    assert "pass --all" in done.stderr


def test_remove_takes_compiled_graphs_along_unless_another_bundle_has_them(
    toy: Bundle, tmp_path: Path
) -> None:
    (graph,) = toy.manifest.graphs.values()
    key = GraphKey(graph_digest(graph), "tensorrt", "10.3.0", "8.7")

    def compile_to(folder: Path) -> Path:
        (folder / "engine.plan").write_bytes(b"plan")
        return folder / "engine.plan"

    made = graph_cache().add(key, bundle="toy", role="g", compile_to=compile_to).path
    twin = write_bundle(tmp_path / "twin", "twin")
    for path in (toy.path, twin.path):
        run("install", path)
    run("remove", "toy", "--yes")
    assert made.exists()
    run("remove", "twin", "--yes")
    assert not made.exists()


def test_remove_asks_first(toy: Bundle) -> None:
    run("install", toy.path)
    assert run("remove", "toy", answer="n\n").exit_code == 1
    assert "toy" in run("list").stdout
    assert run("remove", "toy", answer="y\n").exit_code == 0
    assert "toy" not in run("list").stdout


def test_remove_refuses_a_shipped_bundle_before_asking(tmp_path: Path) -> None:
    write_bundle(tmp_path / "shipped" / "bundles" / "default", "default")
    done = run("remove", "default")
    assert isinstance(done.exception, UsageError)
    assert "Remove the bundle" not in done.output


@pytest.mark.parametrize("command", ["show", "remove", "verify"])
def test_an_unknown_name_is_a_lineup_error(command: str) -> None:
    assert isinstance(run(command, "absent").exception, BundleNotFoundError)


def test_install_overwrites_only_when_told(toy: Bundle, tmp_path: Path) -> None:
    run("install", toy.path)
    other = write_bundle(tmp_path / "other", precision=Precision.FP16)
    assert isinstance(run("install", other.path).exception, UsageError)
    assert run("install", other.path, "--overwrite").exit_code == 0
    assert "fp16" in run("list").stdout
