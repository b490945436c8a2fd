"""The manifest of a bundle: what the runtime may know about a model without opening its graphs.

`manifest.schema.json` next to this module is the published definition. The dataclasses mirror it;
whoever reads a manifest gets dataclasses that passed the schema, or an error that names the field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any

from lineup.bundles.schema import check_schema
from lineup.errors import BundleFormatError, BundleNotFoundError, BundleVersionError

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a bundle may be called; matched in full."""

MAX_MANIFEST_BYTES = 16 * 2**20
"""Far above any real manifest; a larger file is not read into memory."""


class BundleKind(str, Enum):
    """What a bundle's model does."""

    CAPTIONER = "captioner"
    GENERATOR = "generator"
    ENCODER = "encoder"
    FINGERPRINT = "fingerprint"


class Precision(str, Enum):
    """Number format of the weights and of most of the computation."""

    FP32 = "fp32"
    FP16 = "fp16"


class Origin(str, Enum):
    """Where the weights come from."""

    TRAINED = "trained"
    HUB = "hub"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A graph's input or output.

    Attributes:
        name: Name of the tensor in the graph.
        dtype: NumPy name of the element type, e.g. "uint8", "float32".
        shape: One entry per axis: a fixed size, or the name of a symbolic one.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file of the bundle, and what it has to be.

    Attributes:
        path: Relative to the bundle, with forward slashes.
        sha256: 64 lower-case hex digits.
        size_bytes: Exact size.
    """

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Parity:
    """How well a graph reproduced its reference when it was exported.

    Attributes:
        reference: What it was compared with, e.g. "numpy float64".
        metric: An error, lower is better, e.g. "max_relative_error".
        value: The error measured.
        tolerance: The largest error allowed; `value` is not above it.
        samples: Number of inputs compared.
    """

    reference: str
    metric: str
    value: float
    tolerance: float
    samples: int


@dataclass(frozen=True, slots=True)
class GraphCost:
    """What one run of a graph costs on a CPU, as measured when it was exported.

    A run of n images, prompts or sequences costs the first figure and n - 1 times the second.

    Attributes:
        activation_bytes: Peak of private memory in a run of one, beside that of the loaded graph.
        activation_bytes_per_item: What each further item adds.
        loaded_bytes: Private memory of the loaded graph; mapped weights are none.
        run_ms: Time of a run of one, with `threads`.
        run_ms_per_item: What each further item adds.
        threads: Threads of the measurement.
    """

    activation_bytes: int
    activation_bytes_per_item: int
    loaded_bytes: int
    run_ms: float
    run_ms_per_item: float
    threads: int


@dataclass(frozen=True, slots=True)
class Graph:
    """One ONNX graph of the bundle.

    Attributes:
        file: The ONNX file.
        weights: External data of the graph, each at "weights/sha256-<its hash>".
        opset: Version of the default ONNX operator set.
        inputs: In the order of the graph.
        outputs: In the order of the graph.
        parity: The comparison that the export ended with.
        cost: What a run costs; None when it was not measured.
    """

    file: FileRecord
    weights: tuple[FileRecord, ...]
    opset: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parity: Parity
    cost: GraphCost | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Where the model comes from.

    Attributes:
        origin: Trained by this project, taken from a hub, or seeded random weights.
        id: Hub id, name of the recipe, or "random:<seed>".
        revision: Commit, version or hash that pins `id`.
        details: Anything else that helps to make the model again (data, command, figures).
    """

    origin: Origin
    id: str
    revision: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FingerprintInfo:
    """What a fingerprint bundle puts out.

    Attributes:
        dimension: Length of a fingerprint.
        method: Name of the method, e.g. "whitened-residual-spectrum".
        details: Constants of the method that a reader may want to know.
    """

    dimension: int
    method: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """What the image tower of an encoder bundle puts out.

    Attributes:
        layers: Blocks whose CLS token is put out, counted from 1, rising; the output `cls` has
            one row per entry.
        default_layer: The block compared when the user names none; one of `layers`.
        dimension: Length of a CLS token.
        embedding_dimension: Length of the projected embedding; None when the tower is cut
            before it.
    """

    layers: tuple[int, ...]
    default_layer: int
    dimension: int
    embedding_dimension: int | None = None


@dataclass(frozen=True, slots=True)
class CaptionerInfo:
    """How a captioner's decoder is driven.

    Attributes:
        bos_token_id: First token of every caption.
        eos_token_id: Ends a caption.
        pad_token_id: Fed for captions that have ended.
        max_tokens: Length of the key and value cache; no caption is longer.
        layers: Decoder blocks in the cache.
        heads: Attention heads per block.
        head_dimension: Length of one head's key.
        prompt: Text that every caption continues; empty when there is none.
    """

    bos_token_id: int
    eos_token_id: int
    pad_token_id: int
    max_tokens: int
    layers: int
    heads: int
    head_dimension: int
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class TextEncoderInfo:
    """One text encoder of a generator.

    Attributes:
        role: Its graph, e.g. "text_encoder".
        tokenizer: Path of its tokenizer, one of the bundle's files.
        length: Tokens per prompt; shorter prompts are padded, longer ones cut.
        pad_token_id: Fills a prompt up to `length`.
    """

    role: str
    tokenizer: str
    length: int
    pad_token_id: int


@dataclass(frozen=True, slots=True)
class GenerationInfo:
    """Defaults and constants of a generator.

    Attributes:
        native_width_px: Width it was trained for.
        native_height_px: Height it was trained for.
        steps: Default number of denoising steps.
        guidance: Default classifier-free guidance scale; 0 is none.
        latent_channels: Channels of a latent.
        latent_factor: Pixels per latent cell and side.
        latent_scaling: The denoiser sees `(latent - latent_shift) * latent_scaling`.
        latent_shift: See `latent_scaling`.
        vae_family: Generators of the same family share their VAE; names it.
        text_encoders: In the order in which their states are joined.
    """

    native_width_px: int
    native_height_px: int
    steps: int
    guidance: float
    latent_channels: int
    latent_factor: int
    latent_scaling: float
    latent_shift: float
    vae_family: str
    text_encoders: tuple[TextEncoderInfo, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that a bundle says about itself.

    Attributes:
        kind: What the model does.
        name: Name of the bundle in a store: 1 to 64 of `[A-Za-z0-9._-]`, the first a letter or
            a digit.
        licence: SPDX expression of the weights' licence.
        source: Where the model comes from.
        tools: Version per tool that took part in making the bundle.
        precision: Number format of the weights.
        graphs: Graph per role, e.g. "fingerprint", "unet", "vae_decoder".
        preprocess: What the host does to an image before the graph; read it with
            `Bundle.preprocess`, which names the field that is absent.
        created: ISO 8601 date, "2026-01-31".
        fingerprint: Only for kind fingerprint, and always there.
        encoder: Only for kind encoder, and always there.
        captioner: Only for kind captioner, and always there.
        generation: Only for kind generator, and always there.
        scheduler: Constants of a generator's scheduler.
        tokenizer: Path of the tokenizer, one of `files`.
        files: Further files of the bundle.
        schema_version: Version of the manifest's schema.
    """

    kind: BundleKind
    name: str
    licence: str
    source: Source
    tools: Mapping[str, str]
    precision: Precision
    graphs: Mapping[str, Graph]
    preprocess: Mapping[str, Any]
    created: str
    fingerprint: FingerprintInfo | None = None
    encoder: EncoderInfo | None = None
    captioner: CaptionerInfo | None = None
    generation: GenerationInfo | None = None
    scheduler: Mapping[str, Any] | None = None
    tokenizer: str | None = None
    files: tuple[FileRecord, ...] = ()
    schema_version: int = SCHEMA_VERSION

    def all_records(self) -> Iterator[FileRecord]:
        """Yield every file record; graphs that share weights repeat them."""
        for graph in self.graphs.values():
            yield graph.file
            yield from graph.weights
        yield from self.files

    def records(self) -> tuple[FileRecord, ...]:
        """Return every file that the bundle consists of, each once, the manifest left out."""
        return tuple(dict.fromkeys(self.all_records()))

    @property
    def size_bytes(self) -> int:
        """Size of all files together, the manifest left out."""
        return sum(record.size_bytes for record in self.records())


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
