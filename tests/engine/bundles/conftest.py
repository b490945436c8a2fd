"""Small real bundles, and the means to break them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lineup.bundles.bundle import Bundle, weight_location
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
from lineup.bundles.store import BundleStore
from lineup.bundles.writer import BundleWriter

PARITY = Parity("numpy float64", "max_relative_error", 1e-6, 1e-4, 3)


def message(number: int, payload: bytes) -> bytes:
    """A length-delimited field of a protocol buffer, at most 127 bytes long."""
    assert len(payload) < 128
    return bytes([number << 3 | 2, len(payload)]) + payload


def graph_bytes(locations: Sequence[str] = ()) -> bytes:
    """An ONNX file with one initializer per location of external data, and nothing else."""
    model = b"\x08\x08"  # ir_version = 8
    for location in locations:
        entry = message(1, b"location") + message(2, location.encode())
        tensor = b"\x6a" + bytes([len(entry)]) + entry  # field 13, external_data
        graph = message(5, tensor)
        model += message(7, graph)
    return model


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def describe(name: str = "toy", **changes: Any) -> Manifest:
    fields: dict[str, Any] = {
        "kind": BundleKind.FINGERPRINT,
        "name": name,
        "licence": "Apache-2.0",
        "source": Source(Origin.TRAINED, "toy-recipe", "1", {"photographs": 3}),
        "tools": {"torch": "2.6.0"},
        "precision": Precision.FP32,
        "graphs": {},
        "preprocess": Preprocess(tile_size_px=256, max_tiles=9, colour_order="RGB"),
        "fingerprint": FingerprintInfo(8, "whitened-residual-spectrum"),
        "created": "2026-01-31",
    }
    return Manifest(**{**fields, **changes})


def add_toy_graph(
    writer: BundleWriter,
    weights: Sequence[bytes] = (),
    role: str = "fingerprint",
    parity: Parity = PARITY,
    on_cpu: bytes | None = None,
) -> None:
    contents = {weight_location(sha256(weight)): weight for weight in weights}
    writer.add_graph(
        role,
        graph_bytes(list(contents)),
        inputs=[TensorSpec("tiles", "uint8", ("tiles", 256, 256, 3))],
        outputs=[TensorSpec("fingerprint", "float32", ("images", 8))],
        opset=17,
        parity=parity,
        weights=contents,
        on_cpu=on_cpu,
    )


def write_toy(
    folder: Path, name: str = "toy", weights: Sequence[bytes] = (b"some weights",), **changes: Any
) -> Bundle:
    with BundleWriter(folder, describe(name, **changes)) as writer:
        add_toy_graph(writer, weights)
        writer.add_file("extra/notes.txt", b"hello")
        return writer.finish()


@pytest.fixture
def toy(tmp_path: Path) -> Bundle:
    """A fingerprint bundle with one graph, one weight file and one further file."""
    return write_toy(tmp_path / "toy")


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    """An empty store, with an empty folder of shipped bundles."""
    return BundleStore(tmp_path / "home", shipped=tmp_path / "shipped")


@pytest.fixture
def edit_manifest() -> Callable[[Path, Callable[[dict[str, Any]], object]], None]:
    """Change the manifest of a bundle in place, without its hash, which would tell."""

    def edit(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
        path = bundle / "manifest.json"
        raw = json.loads(path.read_text())
        del raw["sha256"]
        change(raw)
        path.write_text(json.dumps(raw))

    return edit


@pytest.fixture
def build() -> Any:
    """The helpers of this file, as attributes."""

    class Build:
        describe = staticmethod(describe)
        write_toy = staticmethod(write_toy)
        add_toy_graph = staticmethod(add_toy_graph)
        graph_bytes = staticmethod(graph_bytes)
        sha256 = staticmethod(sha256)
        parity = PARITY

    return Build
