"""The manifest of a bundle: what the runtime may know about a model without opening its graphs.

The runtime reads and never guesses: an unknown field is refused as well as a missing one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from typing import Annotated, Any, TypeAlias

from msgspec import Meta

from lineup.bundles.info import (
    CaptionerInfo,
    Count,
    EncoderInfo,
    FingerprintInfo,
    GenerationInfo,
    Number,
    Positive,
    Preprocess,
    Text,
)
from lineup.documents import DocumentFormat
from lineup.errors import BundleFormatError, BundleIntegrityError, BundleVersionError

MANIFEST_NAME = "manifest.json"

Sha256: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a bundle may be called; matched in full."""


class BundleKind(str, Enum):
    """What a bundle's model does."""

    CAPTIONER = "captioner"
    GENERATOR = "generator"
    ENCODER = "encoder"
    FINGERPRINT = "fingerprint"


class Precision(str, Enum):
    """Number format of the weights and of most of the computation.

    INT8: the large weights of a generator's denoiser and text encoders; all computation is fp32.
    """

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


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

    name: Text
    dtype: Annotated[str, Meta(pattern=r"^(bool|u?int(8|16|32|64)|float(16|32|64))\Z")]
    shape: tuple[Positive | Text, ...]


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file of the bundle, and what it has to be.

    Attributes:
        path: Relative to the bundle, with forward slashes.
        sha256: 64 lower-case hex digits.
        size_bytes: Exact size.
    """

    path: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]+\Z")]
    sha256: Sha256
    size_bytes: Count


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

    reference: Text
    metric: Text
    value: Number
    tolerance: Number
    samples: Positive


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

    activation_bytes: Count
    activation_bytes_per_item: Count
    loaded_bytes: Count
    run_ms: Number
    run_ms_per_item: Number
    threads: Positive


Role: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*\Z")]


@dataclass(frozen=True, slots=True)
class Graph:
    """One ONNX graph of the bundle.

    Attributes:
        file: The ONNX file.
        weights: Files with external data of the graph, each at "weights/sha256-<its hash>"; an
            export writes one per graph, and none for a small one.
        opset: Version of the default ONNX operator set.
        inputs: In the order of the graph.
        outputs: In the order of the graph.
        parity: The comparison that the export ended with.
        cost: What a run costs; None when it was not measured.
        on_cpu: The same graph, with the same tensors and weights, in a form for ONNX Runtime on a
            CPU; None where `file` is as good there.
    """

    file: FileRecord
    weights: tuple[FileRecord, ...]
    opset: Positive
    inputs: Annotated[tuple[TensorSpec, ...], Meta(min_length=1)]
    outputs: Annotated[tuple[TensorSpec, ...], Meta(min_length=1)]
    parity: Parity
    cost: GraphCost | None = None
    on_cpu: FileRecord | None = None

    @property
    def forms(self) -> tuple[FileRecord, ...]:
        """The ONNX files, each of which computes the same."""
        return (self.file,) if self.on_cpu is None else (self.file, self.on_cpu)


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
    id: Text
    revision: Text
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BatchRange:
    """How many images, tiles, prompts or sequences a run is meant to take.

    Attributes:
        minimum: Fewest.
        maximum: Most. The graphs' axes are free all the same; engines of TensorRT are not.
    """

    minimum: Positive
    maximum: Positive


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
            `Bundle.preprocess`, which names a field that is absent.
        created: ISO 8601 date, "2026-01-31".
        fingerprint: Only for kind fingerprint, and always there.
        encoder: Only for kind encoder, and always there.
        captioner: Only for kind captioner, and always there.
        generation: Only for kind generator, and always there.
        scheduler: Constants of a generator's scheduler; `type` names it.
        tokenizer: Path of the tokenizer, one of `files`.
        files: Further files of the bundle.
        batch: What engines are built for when nothing else is asked; None where the export did
            not say.
    """

    kind: BundleKind
    name: Annotated[str, Meta(pattern=rf"^{NAME_PATTERN.pattern}\Z")]
    licence: Text
    source: Source
    tools: Mapping[str, Text]
    precision: Precision
    graphs: Annotated[Mapping[Role, Graph], Meta(min_length=1)]
    preprocess: Preprocess
    created: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}\Z")]
    fingerprint: FingerprintInfo | None = None
    encoder: EncoderInfo | None = None
    captioner: CaptionerInfo | None = None
    generation: GenerationInfo | None = None
    scheduler: Mapping[str, Any] | None = None
    tokenizer: str | None = None
    files: tuple[FileRecord, ...] = ()
    batch: BatchRange | None = None

    def all_records(self) -> Iterator[FileRecord]:
        """Yield every file record; graphs that share weights repeat them."""
        for graph in self.graphs.values():
            yield from graph.forms
            yield from graph.weights
        yield from self.files

    def records(self) -> tuple[FileRecord, ...]:
        """Return every file that the bundle consists of, each once, the manifest left out."""
        return tuple(dict.fromkeys(self.all_records()))

    @property
    def size_bytes(self) -> int:
        """Size of all files together, the manifest left out."""
        return sum(record.size_bytes for record in self.records())


def path_text_problem(text: str) -> str | None:
    """Return why a path must not stand in a manifest, None when it may; looks at no file."""
    # The same on every system: a bundle that is refused on Windows is refused here.
    if "\\" in text or ":" in text:
        return "the path has a backslash or a drive letter; expected forward slashes"
    parts = text.split("/")
    if parts[0] == "":
        return "the path is absolute; expected one inside of the bundle"
    if ".." in parts:
        return "the path leaves the bundle with '..'"
    if not all(parts) or "." in parts:
        return "the path has an empty or '.' part"
    return None


_SECTIONS = {
    BundleKind.FINGERPRINT: ("fingerprint",),
    BundleKind.ENCODER: ("encoder",),
    BundleKind.CAPTIONER: ("captioner", "tokenizer"),
    BundleKind.GENERATOR: ("generation", "scheduler"),
}
"""What a manifest has to have, per kind."""


def _contradictions(manifest: Manifest) -> Iterator[str]:
    """Yield what types cannot express."""
    for section in _SECTIONS[manifest.kind]:
        if getattr(manifest, section) is None:
            yield f"{section}: missing, but required of kind {manifest.kind.value}"
    scheduler = manifest.scheduler
    if scheduler is not None and not (isinstance(scheduler.get("type"), str) and scheduler["type"]):
        yield "scheduler.type: missing, but required"
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
    batch, encoder = manifest.batch, manifest.encoder
    if batch is not None and batch.minimum > batch.maximum:
        yield f"batch: expected a rising range, got {batch.minimum} to {batch.maximum}"
    if encoder is not None and encoder.default_layer not in encoder.layers:
        yield (
            f"encoder.default_layer: {encoder.default_layer} is not among the layers "
            f"{list(encoder.layers)}"
        )
    yield from _misplaced_tokenizers(manifest)
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
        where = f"generation.text_encoders[{index}]"
        if encoder.tokenizer not in files:
            yield f"{where}.tokenizer: {encoder.tokenizer!r} is not among files"
        if encoder.role not in manifest.graphs:
            yield f"{where}.role: {encoder.role!r} is not among graphs"


MANIFEST = DocumentFormat(
    Manifest,
    BundleFormatError,
    "The bundle was written wrongly, damaged or edited by hand; copy or export it again.",
    newer_error=BundleVersionError,
    altered_error=BundleIntegrityError,
    contradictions=_contradictions,
)
"""A bundle's manifest.json."""
