from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lineup.bundles.bundle import open_bundle, weight_location
from lineup.bundles.info import Preprocess
from lineup.bundles.manifest import Parity, TensorSpec
from lineup.bundles.writer import BundleWriter
from lineup.errors import BundleFormatError, BundleIntegrityError, ParityError, UsageError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_written_bundle_opens_and_leaves_nothing_beside_it(tmp_path: Path, build: Any) -> None:
    bundle = build.write_toy(tmp_path / "deep" / "toy")
    assert open_bundle(tmp_path / "deep" / "toy") == bundle
    assert names(tmp_path / "deep") == ["toy"]
    weight = weight_location(build.sha256(b"some weights"))
    assert (bundle.path / weight).read_bytes() == b"some weights"
    assert names(bundle.path) == ["extra", "fingerprint.onnx", "manifest.json", "weights"]


def test_files_can_be_given_as_paths(tmp_path: Path, build: Any) -> None:
    given = tmp_path / "given.bin"
    given.write_bytes(b"from a file")
    location = weight_location(build.sha256(b"from a file"))
    with BundleWriter(tmp_path / "toy", build.describe()) as writer:
        writer.add_graph(
            "fingerprint",
            build.graph_bytes([location]),
            inputs=[TensorSpec("x", "uint8", (1,))],
            outputs=[TensorSpec("y", "float32", (1,))],
            opset=17,
            parity=build.parity,
            weights={location: given},
        )
        bundle = writer.finish()
    assert (bundle.path / location).read_bytes() == b"from a file"


def test_graphs_share_weights(tmp_path: Path, build: Any) -> None:
    with BundleWriter(tmp_path / "toy", build.describe()) as writer:
        build.add_toy_graph(writer, [b"w"], role="fingerprint")
        build.add_toy_graph(writer, [b"w"], role="head")
        bundle = writer.finish()
    assert len(names(bundle.path / "weights")) == 1
    assert set(bundle.manifest.graphs) == {"fingerprint", "head"}


def test_an_exception_leaves_nothing(tmp_path: Path, build: Any) -> None:
    def write() -> None:
        with BundleWriter(tmp_path / "toy", build.describe()) as writer:
            build.add_toy_graph(writer)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert names(tmp_path) == []


def test_without_finish_there_is_no_bundle(tmp_path: Path, build: Any) -> None:
    with BundleWriter(tmp_path / "toy", build.describe()) as writer:
        build.add_toy_graph(writer)
    assert names(tmp_path) == []


def test_parity_may_be_as_bad_as_the_tolerance(tmp_path: Path, build: Any) -> None:
    with BundleWriter(tmp_path / "toy", build.describe()) as writer:
        build.add_toy_graph(writer, parity=replace(build.parity, value=build.parity.tolerance))
        writer.finish()
    (graph,) = open_bundle(tmp_path / "toy").manifest.graphs.values()
    assert graph.parity.value == graph.parity.tolerance


@pytest.mark.parametrize("value", [0.5, float("nan")])
def test_a_graph_that_failed_parity_makes_no_bundle(
    tmp_path: Path, build: Any, value: float
) -> None:
    with (
        pytest.raises(ParityError, match="max_relative_error against numpy float64"),
        BundleWriter(tmp_path / "toy", build.describe()) as writer,
    ):
        writer.add_graph(
            "fingerprint",
            build.graph_bytes(),
            inputs=[TensorSpec("x", "uint8", (1,))],
            outputs=[TensorSpec("y", "float32", (1,))],
            opset=17,
            parity=Parity("numpy float64", "max_relative_error", value, 1e-4, 3),
        )
    assert names(tmp_path) == []


def test_a_wrong_manifest_makes_no_bundle(tmp_path: Path, build: Any) -> None:
    with pytest.raises(BundleFormatError, match=r"preprocess\.max_tiles: expected int >= 1"):
        build.write_toy(tmp_path / "toy", preprocess=Preprocess(max_tiles=0))
    assert names(tmp_path) == []


def test_a_graph_whose_weights_were_not_added_makes_no_bundle(tmp_path: Path, build: Any) -> None:
    with BundleWriter(tmp_path / "toy", build.describe()) as writer:
        writer.add_graph(
            "fingerprint",
            build.graph_bytes(["fingerprint.onnx.data"]),
            inputs=[TensorSpec("x", "uint8", (1,))],
            outputs=[TensorSpec("y", "float32", (1,))],
            opset=17,
            parity=build.parity,
        )
        with pytest.raises(BundleIntegrityError, match=r"refers to 'fingerprint\.onnx\.data'"):
            writer.finish()
    assert names(tmp_path) == []


def test_weights_under_a_wrong_address_are_refused(tmp_path: Path, build: Any) -> None:
    with (
        pytest.raises(UsageError, match="the address of their content"),
        BundleWriter(tmp_path / "toy", build.describe()) as writer,
    ):
        writer.add_graph(
            "fingerprint",
            build.graph_bytes(["weights/w.bin"]),
            inputs=[TensorSpec("x", "uint8", (1,))],
            outputs=[TensorSpec("y", "float32", (1,))],
            opset=17,
            parity=build.parity,
            weights={"weights/w.bin": b"w"},
        )


def test_a_file_outside_or_twice_is_refused(tmp_path: Path, build: Any) -> None:
    with BundleWriter(tmp_path / "toy", build.describe()) as writer:
        build.add_toy_graph(writer)
        with pytest.raises(UsageError, match=r"leaves the bundle with '\.\.'"):
            writer.add_file("../../out.txt", b"x")
        with pytest.raises(UsageError, match="such a file already"):
            writer.add_file("fingerprint.onnx", b"x")
        with pytest.raises(UsageError, match="such a file already"):
            writer.add_file("manifest.json", b"x")
        with pytest.raises(UsageError, match="a graph 'fingerprint' already"):
            build.add_toy_graph(writer)
    assert names(tmp_path) == []


def test_an_existing_bundle_is_not_replaced_unasked(tmp_path: Path, build: Any) -> None:
    old = build.write_toy(tmp_path / "toy")
    with pytest.raises(UsageError, match="exists already"):
        build.write_toy(tmp_path / "toy", weights=[b"new"])
    assert open_bundle(tmp_path / "toy") == old


def test_a_target_that_appears_meanwhile_is_not_replaced(tmp_path: Path, build: Any) -> None:
    with BundleWriter(tmp_path / "toy", build.describe()) as writer:
        build.add_toy_graph(writer)
        (tmp_path / "toy").mkdir()
        with pytest.raises(UsageError, match="exists already"):
            writer.finish()
    assert names(tmp_path / "toy") == []


def test_overwrite_replaces_and_leaves_nothing_beside_it(tmp_path: Path, build: Any) -> None:
    old = build.write_toy(tmp_path / "toy")
    with BundleWriter(tmp_path / "toy", build.describe(), overwrite=True) as writer:
        build.add_toy_graph(writer, [b"new"])
        assert open_bundle(tmp_path / "toy") == old
        new = writer.finish()
    assert open_bundle(tmp_path / "toy") == new != old
    assert names(tmp_path) == ["toy"]


def test_a_failed_overwrite_keeps_the_old_bundle(
    tmp_path: Path, build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = build.write_toy(tmp_path / "toy")
    rename = Path.rename

    def fail_for_new(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError("disk error")
        return rename(self, target)

    with BundleWriter(tmp_path / "toy", build.describe(), overwrite=True) as writer:
        build.add_toy_graph(writer, [b"new"])
        monkeypatch.setattr(Path, "rename", fail_for_new)
        with pytest.raises(OSError, match="disk error"):
            writer.finish()
    assert open_bundle(tmp_path / "toy") == old
    assert names(tmp_path) == ["toy"]


def test_a_writer_is_not_used_outside_its_block(tmp_path: Path, build: Any) -> None:
    writer = BundleWriter(tmp_path / "toy", build.describe())
    with pytest.raises(RuntimeError, match="inside its with block"):
        writer.finish()
    with writer:
        build.add_toy_graph(writer)
    with pytest.raises(RuntimeError, match="inside its with block"):
        writer.add_file("extra.txt", b"late")


def test_a_target_that_cannot_be_written_is_a_users_mistake(tmp_path: Path, build: Any) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be written to"):
        build.write_toy(tmp_path / "file" / "toy")
