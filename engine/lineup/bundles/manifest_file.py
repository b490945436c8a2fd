"""Reading and writing manifests: JSON that passed the schema, or an error that names the field."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

from lineup.bundles.info import (
    CaptionerInfo,
    EncoderInfo,
    FingerprintInfo,
    GenerationInfo,
    TextEncoderInfo,
)
from lineup.bundles.manifest import (
    MANIFEST_NAME,
    NAME_PATTERN,
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
from lineup.bundles.schema import check_schema
from lineup.errors import (
    BundleFormatError,
    BundleNotFoundError,
    BundleVersionError,
    UsageError,
)
from lineup.files import write_atomic

MAX_MANIFEST_BYTES = 16 * 2**20
"""Far above any real manifest; a larger file is not read into memory."""


def manifest_from_dict(raw: object, *, where: str = MANIFEST_NAME) -> Manifest:
    """Return the manifest that parsed JSON holds.

    Args:
        raw: The parsed JSON.
        where: File to name in errors.

    Raises:
        BundleVersionError: The manifest was written by a newer lineup.
        BundleFormatError: A field is missing, unknown or wrong; names it.
    """
    if not isinstance(raw, Mapping):
        raise BundleFormatError(f"{where}: expected a JSON object, got {type(raw).__name__}.")
    version = raw.get("schema_version")
    # Before the schema: a newer manifest may break ours in any way, and that is not its fault.
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise BundleVersionError(
            f"{where}: schema_version is {version}, but this lineup reads up to {SCHEMA_VERSION}.",
            hint="The bundle was made by a newer lineup. Upgrade: pip install --upgrade lineup",
        )
    check_schema(raw, where)
    manifest = _manifest_from_checked(raw)
    for problem in _contradictions(manifest):
        raise BundleFormatError(f"{where}: {problem}")
    return manifest


def manifest_to_dict(manifest: Manifest) -> dict[str, Any]:
    """Return the manifest as plain JSON values, absent fields left out.

    Raises:
        BundleFormatError: A value cannot be written as JSON.
    """
    ordered = {"schema_version": manifest.schema_version, **asdict(manifest)}
    present = {key: value for key, value in ordered.items() if value is not None}
    for graph in present["graphs"].values():
        if graph["cost"] is None:
            del graph["cost"]
    try:
        plain: dict[str, Any] = json.loads(json.dumps(present, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise BundleFormatError(
            f"The manifest of {manifest.name!r} holds a value that JSON cannot: {error}",
            hint="Only finite numbers, text, booleans, lists and objects can be recorded.",
        ) from error
    return plain


def manifest_from_file(path: Path) -> Manifest:
    """Read a manifest.

    Args:
        path: The JSON file.

    Raises:
        BundleNotFoundError: There is no such file.
        BundleVersionError: The manifest was written by a newer lineup.
        BundleFormatError: The file is not JSON or breaks the schema; names the field.
    """
    if not path.is_file():
        raise BundleNotFoundError(
            f"{path.parent} is not a bundle: it has no {path.name}.",
            hint="`lineup models list` shows the bundles that exist.",
        )
    try:
        return manifest_from_dict(_json_from_file(path), where=str(path))
    except OSError as error:
        raise BundleFormatError(f"{path}: cannot be read: {error.strerror}") from error


def manifest_to_bytes(manifest: Manifest) -> bytes:
    """Return the content of the manifest's file.

    Raises:
        BundleFormatError: A value cannot be written as JSON, or breaks the schema.
    """
    plain = manifest_to_dict(manifest)
    manifest_from_dict(plain, where=f"manifest of {manifest.name!r}")
    return (json.dumps(plain, indent=2, ensure_ascii=True) + "\n").encode("ascii")


def with_costs(root: Path, costs: Mapping[str, GraphCost]) -> Manifest:
    """Put what graphs cost into the manifest of a bundle, and return it.

    Args:
        root: The bundle's folder.
        costs: Per role; graphs that are not among them keep theirs.

    Raises:
        BundleError: The manifest cannot be read.
        UsageError: It cannot be written.
    """
    path = root / MANIFEST_NAME
    manifest = manifest_from_file(path)
    graphs = {
        role: replace(graph, cost=costs.get(role, graph.cost))
        for role, graph in manifest.graphs.items()
    }
    changed = replace(manifest, graphs=graphs)
    try:
        write_atomic(path, manifest_to_bytes(changed))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="Copy the bundle to a folder of yours and name that folder.",
        ) from error
    return changed


def _json_from_file(path: Path) -> object:
    size_bytes = path.stat().st_size
    if size_bytes > MAX_MANIFEST_BYTES:
        raise BundleFormatError(
            f"{path}: {size_bytes} bytes, expected at most {MAX_MANIFEST_BYTES} in a manifest."
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BundleFormatError(
            f"{path}: not JSON: {error}", hint="The file is damaged; export the bundle again."
        ) from error


def _refuse_constant(text: str) -> None:
    """Refuse NaN and Infinity, which Python's parser takes although JSON has neither."""
    raise ValueError(f"{text} is not a JSON number")


def _contradictions(manifest: Manifest) -> Iterator[str]:
    """Yield what the schema cannot express."""
    if not NAME_PATTERN.fullmatch(manifest.name):
        yield f"name: expected text that matches {NAME_PATTERN.pattern}, got {manifest.name!r}"
    try:
        date.fromisoformat(manifest.created)
    except ValueError:
        yield f"created: expected a date like 2026-01-31, got {manifest.created!r}"
    for role, graph in manifest.graphs.items():
        if not graph.parity.value <= graph.parity.tolerance:
            yield (
                f"graphs.{role}.parity.value: {graph.parity.value:g} is above the tolerance "
                f"{graph.parity.tolerance:g}; a graph that failed parity is not used"
            )
    batch = manifest.batch
    if batch is not None and batch.minimum > batch.maximum:
        yield f"batch: expected a rising range, got {batch.minimum} to {batch.maximum}"
    yield from _misplaced_tokenizers(manifest)
    if (
        manifest.encoder is not None
        and manifest.encoder.default_layer not in manifest.encoder.layers
    ):
        yield (
            f"encoder.default_layer: {manifest.encoder.default_layer} is not among the layers "
            f"{list(manifest.encoder.layers)}"
        )
    seen: dict[str, FileRecord] = {}
    for record in manifest.all_records():
        if seen.setdefault(record.path, record) != record:
            yield f"the file {record.path!r} is recorded twice, with different sizes or hashes"


def _misplaced_tokenizers(manifest: Manifest) -> Iterator[str]:
    files = {record.path for record in manifest.files}
    if manifest.tokenizer not in {None, *files}:
        yield f"tokenizer: {manifest.tokenizer!r} is not among files"
    encoders = () if manifest.generation is None else manifest.generation.text_encoders
    for index, encoder in enumerate(encoders):
        where = f"generation.text_encoders.{index}"
        if encoder.tokenizer not in files:
            yield f"{where}.tokenizer: {encoder.tokenizer!r} is not among files"
        if encoder.role not in manifest.graphs:
            yield f"{where}.role: {encoder.role!r} is not among graphs"


def _manifest_from_checked(raw: Mapping[str, Any]) -> Manifest:
    fingerprint, encoder, captioner = (
        raw.get(key) for key in ("fingerprint", "encoder", "captioner")
    )
    return Manifest(
        schema_version=SCHEMA_VERSION,
        kind=BundleKind(raw["kind"]),
        name=raw["name"],
        licence=raw["licence"],
        source=Source(**{**raw["source"], "origin": Origin(raw["source"]["origin"])}),
        tools=raw["tools"],
        precision=Precision(raw["precision"]),
        graphs={role: _graph_from_checked(graph) for role, graph in raw["graphs"].items()},
        preprocess=raw["preprocess"],
        created=raw["created"],
        fingerprint=None if fingerprint is None else FingerprintInfo(**fingerprint),
        encoder=(
            None
            if encoder is None
            else EncoderInfo(**{**encoder, "layers": tuple(encoder["layers"])})
        ),
        captioner=None if captioner is None else CaptionerInfo(**captioner),
        generation=_generation_from_checked(raw.get("generation")),
        scheduler=raw.get("scheduler"),
        tokenizer=raw.get("tokenizer"),
        files=_records_from_checked(raw.get("files", ())),
        batch=BatchRange(**raw["batch"]) if "batch" in raw else None,
    )


def _generation_from_checked(raw: Mapping[str, Any] | None) -> GenerationInfo | None:
    if raw is None:
        return None
    encoders = tuple(TextEncoderInfo(**entry) for entry in raw["text_encoders"])
    return GenerationInfo(**{**raw, "text_encoders": encoders})


def _graph_from_checked(raw: Mapping[str, Any]) -> Graph:
    return Graph(
        file=FileRecord(**raw["file"]),
        weights=_records_from_checked(raw["weights"]),
        opset=raw["opset"],
        inputs=_tensors_from_checked(raw["inputs"]),
        outputs=_tensors_from_checked(raw["outputs"]),
        parity=Parity(**raw["parity"]),
        cost=None if raw.get("cost") is None else GraphCost(**raw["cost"]),
    )


def _records_from_checked(raw: Iterable[Mapping[str, Any]]) -> tuple[FileRecord, ...]:
    return tuple(FileRecord(**record) for record in raw)


def _tensors_from_checked(raw: Iterable[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(spec["name"], spec["dtype"], tuple(spec["shape"])) for spec in raw)
