from __future__ import annotations

import dataclasses
import json
import typing
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from lineup.bundles.info import (
    CaptionerInfo,
    EncoderInfo,
    FingerprintInfo,
    GenerationInfo,
    TextEncoderInfo,
)
from lineup.bundles.manifest import (
    SCHEMA_VERSION,
    BatchRange,
    BundleKind,
    FileRecord,
    Graph,
    GraphCost,
    Manifest,
    Origin,
    Parity,
    Precision,
    Source,
    TensorSpec,
)
from lineup.bundles.manifest_file import (
    MAX_MANIFEST_BYTES,
    manifest_from_dict,
    manifest_from_file,
    manifest_to_dict,
)
from lineup.bundles.schema import field_name, manifest_schema
from lineup.errors import BundleFormatError, BundleNotFoundError, BundleVersionError


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


def test_the_schema_is_valid_and_says_what_every_field_means() -> None:
    schema = manifest_schema()
    Draft202012Validator.check_schema(schema)
    objects = [schema, *schema["$defs"].values()]
    for definition in objects:
        for name, field in definition.get("properties", {}).items():
            target = field.get("$ref", "#/$defs/none").rsplit("/", 1)[1]
            described = field.get("description") or schema["$defs"][target].get("description")
            assert described, name


@pytest.mark.parametrize(
    ("definition", "record"),
    [
        (None, Manifest),
        ("source", Source),
        ("file", FileRecord),
        ("graph", Graph),
        ("tensor", TensorSpec),
        ("parity", Parity),
        ("cost", GraphCost),
        ("fingerprint", FingerprintInfo),
        ("encoder", EncoderInfo),
        ("captioner", CaptionerInfo),
        ("text_encoder", TextEncoderInfo),
        ("generation", GenerationInfo),
    ],
)
def test_schema_and_dataclasses_have_the_same_fields(definition: str | None, record: type) -> None:
    schema = manifest_schema()
    part = schema if definition is None else schema["$defs"][definition]
    fields = dataclasses.fields(record)
    assert set(part["properties"]) == {field.name for field in fields}
    optional = {
        field.name
        for field in fields
        if field.default is not dataclasses.MISSING
        or field.default_factory is not dataclasses.MISSING
    }
    # The version has a default for whoever builds a manifest, never in a file.
    assert set(part["required"]) == {field.name for field in fields} - (
        optional - {"schema_version"}
    )
    assert part["additionalProperties"] is False
    assert typing.get_type_hints(record)


def test_schema_and_enums_have_the_same_values() -> None:
    schema = manifest_schema()
    assert schema["properties"]["kind"]["enum"] == [kind.value for kind in BundleKind]
    assert schema["properties"]["precision"]["enum"] == [item.value for item in Precision]
    assert schema["$defs"]["source"]["properties"]["origin"]["enum"] == [o.value for o in Origin]
    assert schema["properties"]["schema_version"]["const"] == SCHEMA_VERSION


def test_an_encoder_offers_its_default_layer(raw: dict[str, Any]) -> None:
    raw |= {"kind": "encoder", "encoder": {"layers": [1, 3], "default_layer": 2, "dimension": 64}}
    with pytest.raises(BundleFormatError, match=r"encoder.default_layer: 2 is not among"):
        manifest_from_dict(raw)


@pytest.mark.parametrize("kind", ["encoder", "captioner", "generator", "fingerprint"])
def test_every_kind_needs_its_own_section(raw: dict[str, Any], kind: str) -> None:
    raw.pop("fingerprint", None)
    raw["kind"] = kind
    with pytest.raises(BundleFormatError, match="missing, but required"):
        manifest_from_dict(raw)


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
    manifest = manifest_from_dict(raw)
    assert manifest_to_dict(manifest) == raw
    assert manifest_from_dict(manifest_to_dict(manifest)) == manifest
    assert manifest.graphs["fingerprint"].inputs[0].shape == ("tiles", 256, 256, 3)
    assert manifest.kind is BundleKind.GENERATOR


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("kind", "oracle", "kind: expected one of captioner, generator, encoder, fingerprint"),
        (
            "graphs/fingerprint/outputs/0/dtype",
            "float99",
            "graphs.fingerprint.outputs[0].dtype: expected one of ",
        ),
        ("graphs/fingerprint/outputs/0/dtype", "float99", "got 'float99'"),
        ("graphs/fingerprint/opset", ..., "graphs.fingerprint.opset: missing"),
        ("graphs/fingerprint/opset", "17", "opset: expected an integer, got '17'"),
        ("graphs/fingerprint/opset", True, "opset: expected an integer, got True"),
        ("graphs/fingerprint/inputs/0/shape/1", 0, "graphs.fingerprint.inputs[0].shape[1]: "),
        ("graphs/fingerprint/inputs/0/shape/1", 1.5, "expected an integer or a string, got 1.5"),
        ("graphs/fingerprint/file/sha256", "abc", "file.sha256: expected text that matches"),
        ("graphs/fingerprint/file/path", "a\nb", "file.path: expected text that matches"),
        ("graphs", {}, "graphs: "),
        ("source/origin", "found", "source.origin: expected one of trained, hub, random"),
        ("licence", "", "licence: "),
        ("licence", ..., "licence: missing, but required"),
        ("fingerprint", ..., "fingerprint: missing, but required"),
        ("preprocess/tile_size_px", "big", "preprocess.tile_size_px: expected an integer"),
        ("preprocess/flip", True, "preprocess.flip: unknown field; known are "),
        ("colour", "red", "colour: unknown field"),
        ("name", "../evil", "name: expected text that matches"),
        ("name", "evil\n", "name: expected text that matches"),
        ("created", "yesterday", "created: expected text that matches"),
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
        manifest_from_dict(raw, where="x/manifest.json")
    assert caught.value.message.startswith("x/manifest.json: ")
    assert said in caught.value.message


def test_a_newer_manifest_is_refused_by_its_version_whatever_else_it_holds() -> None:
    with pytest.raises(BundleVersionError) as caught:
        manifest_from_dict({"schema_version": 7, "parts": []})
    assert "schema_version is 7" in caught.value.message
    assert "up to 1" in caught.value.message
    assert "pip install --upgrade lineup" in str(caught.value.hint)


@pytest.mark.parametrize("raw_value", [[], "text", None, 3])
def test_json_that_is_no_object_is_refused(raw_value: object) -> None:
    with pytest.raises(BundleFormatError, match="expected a JSON object"):
        manifest_from_dict(raw_value)


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, '{"schema_version": NaN}', "\xff\xfe", '{"a": Infinity}']
)
def test_a_file_that_is_not_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleFormatError, match="not JSON"):
        manifest_from_file(path)


def test_a_huge_manifest_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    with path.open("wb") as stream:
        stream.truncate(MAX_MANIFEST_BYTES + 1)
    with pytest.raises(BundleFormatError, match="expected at most"):
        manifest_from_file(path)


def test_a_missing_manifest_says_that_this_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError, match=r"is not a bundle: it has no manifest\.json"):
        manifest_from_file(tmp_path / "manifest.json")


def test_control_characters_of_a_manifest_do_not_reach_the_message(raw: dict[str, Any]) -> None:
    raw["preprocess"]["\x1b[31mred"] = 1
    with pytest.raises(BundleFormatError) as caught:
        manifest_from_dict(raw)
    assert "\x1b" not in caught.value.message


def test_a_value_that_json_cannot_hold_is_refused(raw: dict[str, Any]) -> None:
    manifest = manifest_from_dict(raw)
    for value in (float("nan"), object()):
        broken = dataclasses.replace(manifest, preprocess={"mean": value})
        with pytest.raises(BundleFormatError, match="JSON cannot"):
            manifest_to_dict(broken)


def test_field_names_read_like_code() -> None:
    assert (
        field_name(["graphs", "unet", "inputs", 0, "shape", 2]) == "graphs.unet.inputs[0].shape[2]"
    )
    assert field_name([]) == "manifest"


def test_files_shared_by_graphs_count_once(raw: dict[str, Any]) -> None:
    raw["graphs"]["second"] = json.loads(json.dumps(raw["graphs"]["fingerprint"]))
    manifest = manifest_from_dict(raw)
    assert len(manifest.records()) == 3
    assert manifest.size_bytes == sum(record.size_bytes for record in manifest.records())


def test_a_batch_is_read_and_has_to_rise(raw: dict[str, Any]) -> None:
    assert manifest_from_dict(raw).batch is None
    raw["batch"] = {"minimum": 1, "maximum": 4}
    manifest = manifest_from_dict(raw)
    assert manifest.batch == BatchRange(1, 4)
    assert manifest_to_dict(manifest)["batch"] == raw["batch"]
    raw["batch"] = {"minimum": 4, "maximum": 1}
    with pytest.raises(BundleFormatError, match="batch: expected a rising range, got 4 to 1"):
        manifest_from_dict(raw)
