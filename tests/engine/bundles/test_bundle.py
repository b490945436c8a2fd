from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from lineup.bundles.bundle import Bundle, content_digest, open_bundle, weight_location
from lineup.bundles.info import Preprocess
from lineup.bundles.manifest import MANIFEST, MANIFEST_NAME
from lineup.bundles.writer import BundleWriter
from lineup.errors import (
    BundleError,
    BundleFormatError,
    BundleIntegrityError,
    BundleNotFoundError,
    BundleVersionError,
)

WEIGHTS = b"some weights"


def refusal(path: Path) -> str:
    with pytest.raises(BundleIntegrityError) as caught:
        open_bundle(path)
    assert "Nothing of the bundle was used" in str(caught.value.hint)
    return caught.value.message


def weight_file(bundle: Bundle) -> Path:
    return next((bundle.path / "weights").iterdir())


def test_an_intact_bundle_opens(toy: Bundle) -> None:
    bundle = open_bundle(toy.path)
    assert bundle == toy
    assert bundle.graph_path("fingerprint").read_bytes()
    assert bundle.preprocess("tile_size_px") == 256


def test_a_missing_file_is_named(toy: Bundle) -> None:
    (toy.path / "extra" / "notes.txt").unlink()
    assert "extra/notes.txt: missing" in refusal(toy.path)


def test_a_truncated_file_is_named_with_both_sizes(toy: Bundle) -> None:
    path = weight_file(toy)
    path.write_bytes(path.read_bytes()[:5])
    said = refusal(toy.path)
    assert f"weights/{path.name}: truncated: expected 12 bytes, found 5" in said


def test_a_file_that_grew_is_refused(toy: Bundle) -> None:
    path = weight_file(toy)
    path.write_bytes(path.read_bytes() + b"!")
    assert "altered: expected 12 bytes, found 13" in refusal(toy.path)


@pytest.mark.parametrize("name", ["fingerprint.onnx", "extra/notes.txt", "weights"])
def test_an_altered_file_is_named(toy: Bundle, name: str) -> None:
    path = weight_file(toy) if name == "weights" else toy.path / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    said = refusal(toy.path)
    assert name in said
    assert "altered: expected sha256" in said


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/etc/passwd", "absolute"),
        ("//server/share", "absolute"),
        ("../outside.txt", "leaves the bundle with '..'"),
        ("extra/../../outside.txt", "leaves the bundle with '..'"),
        ("C:/outside.txt", "drive letter"),
        ("C:outside.txt", "drive letter"),
        ("extra\\notes.txt", "backslash"),
        ("..\\outside.txt", "backslash"),
        ("extra//notes.txt", "empty or '.' part"),
        ("./extra/notes.txt", "empty or '.' part"),
        ("extra", "not a regular file"),
    ],
)
def test_a_path_that_escapes_is_refused(
    toy: Bundle, edit_manifest: Any, path: str, why: str
) -> None:
    shutil.copy(toy.path / "extra" / "notes.txt", toy.path.parent / "outside.txt")
    edit_manifest(toy.path, lambda raw: raw["files"][0].update(path=path))
    said = refusal(toy.path)
    assert path in said
    assert why in said


@pytest.mark.parametrize("field", ["file", "weights"])
def test_paths_of_graphs_and_weights_are_checked_too(
    toy: Bundle, edit_manifest: Any, field: str
) -> None:
    def escape(raw: dict[str, Any]) -> None:
        graph = raw["graphs"]["fingerprint"]
        record = graph["file"] if field == "file" else graph["weights"][0]
        record["path"] = f"../{record['path']}"

    edit_manifest(toy.path, escape)
    assert "leaves the bundle with '..'" in refusal(toy.path)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
@pytest.mark.parametrize("what", ["file", "folder", "manifest"])
def test_a_link_that_leaves_the_bundle_is_refused(toy: Bundle, what: str) -> None:
    inside = (
        toy.path / {"file": "extra/notes.txt", "folder": "extra", "manifest": "manifest.json"}[what]
    )
    outside = toy.path.parent / "outside"
    inside.rename(outside)
    inside.symlink_to(outside)
    with pytest.raises(BundleIntegrityError, match="a link that leaves the bundle"):
        open_bundle(toy.path)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_inside_the_bundle_and_to_the_bundle_are_fine(toy: Bundle) -> None:
    notes = toy.path / "extra" / "notes.txt"
    notes.rename(toy.path / "moved.txt")
    notes.symlink_to("../moved.txt")
    alias = toy.path.parent / "alias"
    alias.symlink_to(toy.path)
    assert open_bundle(alias).path == toy.path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes there")
def test_a_pipe_is_refused_and_not_waited_for(toy: Bundle) -> None:
    path = toy.path / "extra" / "notes.txt"
    path.unlink()
    os.mkfifo(path)
    assert "not a regular file" in refusal(toy.path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_named(toy: Bundle) -> None:
    path = toy.path / "extra" / "notes.txt"
    path.chmod(0)
    assert "extra/notes.txt: cannot be read" in refusal(toy.path)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "extra/notes.txt"])
def test_a_graph_that_asks_for_other_data_is_refused(
    toy: Bundle, edit_manifest: Any, build: Any, location: str
) -> None:
    graph = build.graph_bytes([f"weights/{weight_file(toy).name}", location])
    toy.graph_path("fingerprint").write_bytes(graph)
    record = {"path": "fingerprint.onnx", "sha256": build.sha256(graph), "size_bytes": len(graph)}
    edit_manifest(toy.path, lambda raw: raw["graphs"]["fingerprint"].update(file=record))
    assert f"fingerprint.onnx: the graph refers to '{location}'" in refusal(toy.path)


def with_form(folder: Path, build: Any, *read: bytes) -> Bundle:
    """Write a bundle whose graph has a form for a CPU, which reads some weights."""
    form = build.graph_bytes([weight_location(build.sha256(one)) for one in read])
    with BundleWriter(folder, build.describe()) as writer:
        build.add_toy_graph(writer, [WEIGHTS], on_cpu=form)
        return writer.finish()


def test_the_form_for_a_cpu_is_a_file_like_any_other(tmp_path: Path, build: Any) -> None:
    bundle = with_form(tmp_path / "one", build, WEIGHTS)
    form = bundle.graph_path_on_cpu("fingerprint")

    assert form.name == "fingerprint.cpu.onnx"
    assert bundle.graph_path("fingerprint").name == "fingerprint.onnx"
    assert build.sha256(form.read_bytes()) in {one.sha256 for one in bundle.manifest.records()}
    form.write_bytes(form.read_bytes()[:-1])
    assert "fingerprint.cpu.onnx: truncated" in refusal(bundle.path)


def test_the_form_for_a_cpu_belongs_to_the_identity(tmp_path: Path, build: Any) -> None:
    bare = build.write_toy(tmp_path / "toy", weights=[WEIGHTS])
    assert bare.graph_path_on_cpu("fingerprint") == bare.graph_path("fingerprint")

    formed = [with_form(tmp_path / str(len(one)), build, *one) for one in ([], [WEIGHTS])]
    assert len({one.digest for one in (bare, *formed)}) == 3


def test_the_form_for_a_cpu_reads_the_weights_of_its_graph(tmp_path: Path, build: Any) -> None:
    with pytest.raises(BundleIntegrityError, match="which is not among its weights"):
        with_form(tmp_path / "stranger", build, b"others")


def test_a_graph_that_goes_after_it_was_hashed_is_named(
    toy: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(path: Path) -> None:
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr("lineup.bundles.bundle.external_locations", gone)
    assert "fingerprint.onnx: cannot be read: No such file" in refusal(toy.path)


def test_each_graph_answers_for_its_own_weights(toy: Bundle, edit_manifest: Any) -> None:
    def share_file(raw: dict[str, Any]) -> None:
        raw["graphs"]["second"] = {**raw["graphs"]["fingerprint"], "weights": []}

    edit_manifest(toy.path, share_file)
    assert "not among its weights" in refusal(toy.path)


def test_a_graph_that_is_not_onnx_is_refused(toy: Bundle, edit_manifest: Any, build: Any) -> None:
    data = b"\x00 garbage"
    toy.graph_path("fingerprint").write_bytes(data)
    record = {"path": "fingerprint.onnx", "sha256": build.sha256(data), "size_bytes": len(data)}
    edit_manifest(toy.path, lambda raw: raw["graphs"]["fingerprint"].update(file=record))
    assert "not an ONNX graph" in refusal(toy.path)


def test_weights_elsewhere_than_at_their_address_are_refused(
    toy: Bundle, edit_manifest: Any
) -> None:
    weight_file(toy).rename(toy.path / "weights" / "w.bin")
    edit_manifest(
        toy.path,
        lambda raw: raw["graphs"]["fingerprint"]["weights"][0].update(path="weights/w.bin"),
    )
    assert "weights/w.bin: weights have to lie at the address of their content" in refusal(toy.path)


def test_a_graph_below_the_top_is_refused(toy: Bundle, edit_manifest: Any) -> None:
    toy.graph_path("fingerprint").rename(toy.path / "extra" / "g.onnx")
    edit_manifest(
        toy.path, lambda raw: raw["graphs"]["fingerprint"]["file"].update(path="extra/g.onnx")
    )
    assert "at the top of the bundle" in refusal(toy.path)


def test_one_bit_of_any_byte_of_the_manifest_is_seen_and_said_to_be_there(toy: Bundle) -> None:
    path = toy.path / MANIFEST_NAME
    whole = path.read_bytes()
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        with pytest.raises(BundleError, match=MANIFEST_NAME):
            open_bundle(toy.path)


def test_an_edited_manifest_is_told_from_one_without_a_hash(
    toy: Bundle, edit_manifest: Any
) -> None:
    path = toy.path / MANIFEST_NAME
    path.write_text(path.read_text().replace('"Apache-2.0"', '"MIT"'))
    with pytest.raises(BundleIntegrityError, match=r"manifest\.json: altered: expected sha256"):
        open_bundle(toy.path)
    edit_manifest(toy.path, lambda raw: raw)
    assert open_bundle(toy.path).manifest.licence == "MIT"


def test_a_newer_bundle_is_refused(toy: Bundle, edit_manifest: Any) -> None:
    edit_manifest(toy.path, lambda raw: raw.update(schema_version=2, extra_part={}))
    with pytest.raises(BundleVersionError, match="schema_version is 2"):
        open_bundle(toy.path)


def test_a_wrong_manifest_names_the_file(toy: Bundle, edit_manifest: Any) -> None:
    edit_manifest(toy.path, lambda raw: raw.pop("licence"))
    with pytest.raises(BundleFormatError, match=r"manifest\.json: licence: missing"):
        open_bundle(toy.path)


@pytest.mark.parametrize("name", ["absent", "a-file", "empty"])
def test_what_is_no_bundle_is_said_to_be_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "a-file").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleNotFoundError, match="is not a bundle"):
        open_bundle(tmp_path / name)


def test_an_absent_field_or_graph_is_named(toy: Bundle) -> None:
    with pytest.raises(BundleFormatError, match=r"preprocess\.mean: missing"):
        toy.preprocess("mean")
    with pytest.raises(BundleFormatError, match=r"graphs\.unet: missing.*there are: fingerprint"):
        toy.graph_path("unet")


def test_the_digest_follows_the_content_and_not_the_label(tmp_path: Path, build: Any) -> None:
    first = build.write_toy(tmp_path / "a")
    relabelled = build.write_toy(
        tmp_path / "b", name="other", created="2027-01-01", licence="MIT", tools={"torch": "3"}
    )
    assert relabelled.digest == first.digest
    changed = [
        build.write_toy(tmp_path / "c", weights=[b"other weights"]),
        build.write_toy(tmp_path / "d", weights=[]),
        build.write_toy(tmp_path / "e", preprocess=Preprocess(tile_size_px=128)),
        build.write_toy(tmp_path / "f", tokenizer="extra/notes.txt"),
        build.write_toy(tmp_path / "g", scheduler={"type": "euler"}),
    ]
    assert len({first.digest, *(bundle.digest for bundle in changed)}) == 6


def test_the_digest_does_not_depend_on_the_order_of_fields(
    tmp_path: Path, build: Any, edit_manifest: Any
) -> None:
    def reverse(raw: dict[str, Any]) -> None:
        for key, value in reversed(list(raw.items())):
            raw[key] = raw.pop(key)
            if isinstance(value, dict):
                reverse(value)

    bundle = build.write_toy(tmp_path / "toy", scheduler={"type": "euler", "steps_offset": 1})
    edit_manifest(bundle.path, reverse)
    assert open_bundle(bundle.path).digest == bundle.digest


@pytest.mark.parametrize("field", ["prompt", "max_tokens"])
def test_how_a_captioner_is_driven_belongs_to_its_identity(toy: Bundle, field: str) -> None:
    raw = json.loads((toy.path / "manifest.json").read_text())
    raw.pop("fingerprint")
    raw |= {
        "kind": "captioner",
        "tokenizer": raw["files"][0]["path"],
        "captioner": {
            "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "max_tokens": 8,
            "layers": 1, "heads": 1, "head_dimension": 4, "prompt": "a",
        },
    }  # fmt: skip
    before = content_digest(MANIFEST.from_raw(raw, where="x"))
    raw["captioner"][field] = {"prompt": "b", "max_tokens": 9}[field]
    assert content_digest(MANIFEST.from_raw(raw, where="x")) != before


def test_a_graph_may_have_a_file_per_tensor_as_exports_once_wrote(
    tmp_path: Path, build: Any
) -> None:
    bundle = build.write_toy(tmp_path / "toy", weights=(b"first", b"second"))

    opened = open_bundle(bundle.path)
    assert [one.size_bytes for one in opened.manifest.graphs["fingerprint"].weights] == [5, 6]
