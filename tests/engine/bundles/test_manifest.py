from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lineup.bundles.bundle import read_bundle
from lineup.bundles.manifest import MANIFEST, BatchRange, BundleKind, Manifest
from lineup.errors import BundleFormatError, BundleNotFoundError, BundleVersionError
from lineup.paths import shipped_dir


def manifest_from_raw(raw: object) -> Manifest:
    return MANIFEST.from_raw(raw, where="x/manifest.json")


@pytest.fixture
def raw(toy: Any) -> dict[str, Any]:
    return json.loads((toy.path / "manifest.json").read_text())


def change(raw: dict[str, Any], path: str, value: object) -> None:
    *parents, last = path.split("/")
    node: Any = raw
    for part in parents:
        node = node[int(part)] if part.isdigit() else node[part]
    if value is ...:
        del node[last]
    else:
        node[int(last) if last.isdigit() else last] = value


def test_an_encoder_offers_its_default_layer(raw: dict[str, Any]) -> None:
    raw |= {"kind": "encoder", "encoder": {"layers": [1, 3], "default_layer": 2, "dimension": 64}}
    with pytest.raises(BundleFormatError, match=r"encoder.default_layer: 2 is not among"):
        manifest_from_raw(raw)


@pytest.mark.parametrize("kind", ["encoder", "captioner", "generator", "fingerprint"])
def test_every_kind_needs_its_own_section(raw: dict[str, Any], kind: str) -> None:
    raw.pop("fingerprint", None)
    raw["kind"] = kind
    with pytest.raises(BundleFormatError, match="missing, but required"):
        manifest_from_raw(raw)


def test_a_manifest_survives_writing_and_reading(raw: dict[str, Any]) -> None:
    raw |= {
        "kind": "generator",
        "generation": {
            "native_width_px": 512, "native_height_px": 512, "steps": 1, "guidance": 0.0,
            "latent_channels": 4, "latent_factor": 8, "latent_scaling": 0.18215,
            "latent_shift": 0.0, "vae_family": "sd",
            "text_encoders": [
                {"role": "fingerprint", "tokenizer": "extra/notes.txt", "length": 77,
                 "pad_token_id": 0},
            ],
        },
        "scheduler": {"type": "euler", "sigmas": [14.6]},
        "tokenizer": "extra/notes.txt",
    }  # fmt: skip
    raw["graphs"]["fingerprint"]["cost"] = {
        "activation_bytes": 5, "activation_bytes_per_item": 4, "loaded_bytes": 3, "run_ms": 2.5,
        "run_ms_per_item": 1.5, "threads": 1,
    }  # fmt: skip
    manifest = manifest_from_raw(raw)
    del raw["sha256"]
    assert MANIFEST.to_raw(manifest) == raw
    assert manifest_from_raw(MANIFEST.to_raw(manifest)) == manifest
    assert manifest.graphs["fingerprint"].inputs[0].shape == ("tiles", 256, 256, 3)
    assert manifest.kind is BundleKind.GENERATOR


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("kind", "oracle", "kind: expected one of captioner, generator, encoder, fingerprint"),
        (
            "graphs/fingerprint/outputs/0/dtype",
            "float99",
            "graphs.fingerprint.outputs[0].dtype: expected str matching regex ",
        ),
        ("graphs/fingerprint/outputs/0/dtype", "float99", "got 'float99'"),
        ("graphs/fingerprint/opset", ..., "graphs.fingerprint.opset: missing"),
        ("graphs/fingerprint/opset", "17", "opset: expected int, got '17'"),
        ("graphs/fingerprint/opset", True, "opset: expected int, got True"),
        ("graphs/fingerprint/inputs/0/shape/1", 0, "graphs.fingerprint.inputs[0].shape[1]: "),
        ("graphs/fingerprint/inputs/0/shape/1", 1.5, "expected int | str, got 1.5"),
        ("graphs/fingerprint/file/sha256", "abc", "file.sha256: expected str matching regex"),
        ("graphs/fingerprint/file/path", "a\nb", "file.path: expected str matching regex"),
        ("graphs", {}, "graphs: "),
        ("source/origin", "found", "source.origin: expected one of trained, hub, random"),
        ("licence", "", "licence: "),
        ("licence", ..., "licence: missing, but required"),
        ("fingerprint", ..., "fingerprint: missing, but required"),
        ("preprocess/tile_size_px", "big", "preprocess.tile_size_px: expected int"),
        ("preprocess/flip", True, "preprocess.flip: unknown field; known are "),
        ("colour", "red", "colour: unknown field"),
        ("name", "../evil", "name: expected str matching regex"),
        ("name", "evil\n", "name: expected str matching regex"),
        ("created", "yesterday", "created: expected str matching regex"),
        ("created", "2026-02-31", "created: expected a date"),
        ("schema_version", 0, "schema_version: expected 1, got 0"),
        ("schema_version", ..., "schema_version: missing"),
        ("graphs/fingerprint/parity/value", 0.5, "graphs.fingerprint.parity.value: 0.5 is above"),
        ("tokenizer", "vocab.json", "tokenizer: 'vocab.json' is not among files"),
        ("files/0/path", "fingerprint.onnx", "'fingerprint.onnx' is recorded twice"),
    ],
)
def test_a_wrong_field_is_named(raw: dict[str, Any], path: str, value: object, said: str) -> None:
    change(raw, path, value)
    with pytest.raises(BundleFormatError) as caught:
        manifest_from_raw(raw)
    assert caught.value.message.startswith("x/manifest.json: ")
    assert said in caught.value.message


def test_a_newer_manifest_is_refused_by_its_version_whatever_else_it_holds() -> None:
    with pytest.raises(BundleVersionError) as caught:
        manifest_from_raw({"schema_version": 7, "parts": []})
    assert "schema_version is 7" in caught.value.message
    assert "up to 1" in caught.value.message
    assert "pip install --upgrade lineup" in str(caught.value.hint)


def test_a_missing_manifest_says_that_this_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError, match=r"is not a bundle: it has no manifest\.json"):
        read_bundle(tmp_path)


def test_files_shared_by_graphs_count_once(raw: dict[str, Any]) -> None:
    raw["graphs"]["second"] = json.loads(json.dumps(raw["graphs"]["fingerprint"]))
    manifest = manifest_from_raw(raw)
    assert len(manifest.records()) == 3
    assert manifest.size_bytes == sum(record.size_bytes for record in manifest.records())


def test_a_batch_is_read_and_has_to_rise(raw: dict[str, Any]) -> None:
    assert manifest_from_raw(raw).batch is None
    raw["batch"] = {"minimum": 1, "maximum": 4}
    manifest = manifest_from_raw(raw)
    assert manifest.batch == BatchRange(1, 4)
    assert MANIFEST.to_raw(manifest)["batch"] == raw["batch"]
    raw["batch"] = {"minimum": 4, "maximum": 1}
    with pytest.raises(BundleFormatError, match="batch: expected a rising range, got 4 to 1"):
        manifest_from_raw(raw)


def test_latents_are_smaller_than_the_image_by_their_factor() -> None:
    generation = read_bundle(shipped_dir() / "bundles" / "pocket-ash")[1].generation
    assert generation is not None
    wide = replace(generation, native_width_px=512, native_height_px=256, latent_factor=8)
    assert wide.native_axes == {"rows": 32, "columns": 64, "height": 256, "width": 512}
