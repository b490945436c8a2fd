"""The manifest of a bundle: what the runtime may know about a model without opening its graphs.

`manifest.schema.json` next to this module is the published definition, which the dataclasses
mirror; `lineup.bundles.manifest_file` reads and writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from lineup.bundles.info import CaptionerInfo, EncoderInfo, FingerprintInfo, GenerationInfo

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a bundle may be called; matched in full."""


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
        weights: Files with external data of the graph, each at "weights/sha256-<its hash>"; an
            export writes one per graph, and none for a small one.
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
class BatchRange:
    """How many images, tiles, prompts or sequences a run is meant to take.

    Attributes:
        minimum: Fewest.
        maximum: Most. The graphs' axes are free all the same; engines of TensorRT are not.
    """

    minimum: int
    maximum: int


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
        batch: What engines are built for when nothing else is asked; None where the export did
            not say.
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
    batch: BatchRange | None = None
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
