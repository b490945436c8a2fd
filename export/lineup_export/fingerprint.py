"""Checkpoint of a fingerprint to bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lineup.bundles.bundle import Bundle
from lineup.bundles.info import FingerprintInfo, Preprocess
from lineup.bundles.manifest import BundleKind, Manifest, Origin, Parity, Precision, Source
from lineup.bundles.writer import BundleWriter, today
from lineup.files import sha256_from_file
from lineup.types import AnyArray
from lineup_export.assembly import measured_bundle
from lineup_export.component import ExportOptions
from lineup_export.fingerprint_reference import (
    fingerprints_reference,
    probe_tiles,
    real_llrs_reference,
)
from lineup_export.graph import InputSpec, OnnxGraph, graph_from_module
from lineup_export.parity import checked_parity, outputs_from_file
from lineup_export.versions import OWN_TOOLS, tool_versions
from lineup_models.fingerprint.checkpoint import WEIGHTS_NAME, Checkpoint, read_checkpoint
from lineup_models.fingerprint.graph import Fingerprint
from lineup_models.fingerprint.spec import TEXTURE_DIMENSION, spectrum_to_dict

METHOD = "whitened-spectrum-and-texture"
GRAPH, STRENGTH, REAL = "fingerprint", "strength", "real"
TOLERANCES: Mapping[Precision, float] = {Precision.FP32: 1e-4, Precision.FP16: 1e-2}
"""Largest error per precision; the graph keeps the features in fp32 whatever else is narrowed."""
STRENGTH_TOLERANCE = 1e-3
"""Largest error of an image's strength, relative to it, whatever the precision."""


def bundle_from_checkpoint(
    folder: Path,
    target: Path,
    options: ExportOptions,
    *,
    name: str = "whitened-spectrum",
    max_tiles: int = 16,
) -> Bundle:
    """Export, compare with the reference, and write the bundle; or leave nothing behind.

    Args:
        folder: Checkpoint that `lineup train whitening` wrote.
        target: Folder that becomes the bundle.
        options: How; the number of tiles stays free.
        name: Of the bundle.
        max_tiles: Largest number of tiles that the runtime takes from one image.

    Raises:
        BundleNotFoundError: There is no such checkpoint.
        BundleFormatError: The checkpoint is not what was written.
        ParityError: The graph does not compute what the reference computes.
        UsageError: The target exists, or the opset is not supported.
    """
    checkpoint = read_checkpoint(folder)
    description = Manifest(
        name=name,
        precision=options.precision,
        **_fields(checkpoint, sha256_from_file(folder / WEIGHTS_NAME), max_tiles),
    )
    with BundleWriter(target, description, overwrite=options.overwrite) as writer:
        graph = graph_from_checkpoint(checkpoint, opset=options.opset, precision=options.precision)
        parity = parity_of_graph(graph, checkpoint, tolerance=TOLERANCES[options.precision])
        graph.add_to(writer, GRAPH, parity)
        return measured_bundle(writer.finish())


def graph_from_checkpoint(
    checkpoint: Checkpoint, *, opset: int, precision: Precision = Precision.FP32
) -> OnnxGraph:
    """Return the graph: `tiles` and `tile_weights` in, `fingerprint` and `strength` out.

    With a fitted real head `real` comes out as well.
    """
    size = checkpoint.spec.tile_size_px
    axes_dtype = torch.float16 if precision is Precision.FP16 else torch.float32
    module = Fingerprint(
        checkpoint.spec, checkpoint.whitening, real=checkpoint.real, axes_dtype=axes_dtype
    )
    inputs = (
        InputSpec("tiles", torch.zeros(3, size, size, 3, dtype=torch.uint8), {0: "tiles"}),
        InputSpec("tile_weights", torch.full((2, 3), 1 / 3), {0: "images", 1: "tiles"}),
    )
    return graph_from_module(
        module,
        inputs,
        [GRAPH, STRENGTH] if checkpoint.real is None else [GRAPH, STRENGTH, REAL],
        opset=opset,
        mixed_precision=precision is Precision.FP16,
    )


def parity_of_graph(graph: OnnxGraph, checkpoint: Checkpoint, *, tolerance: float) -> Parity:
    """Compare the graph with the float64 reference on drawn tiles, alone and grouped to images.

    Raises:
        ParityError: The error is above the tolerance.
    """
    tiles = probe_tiles(checkpoint.spec.tile_size_px)
    weights = _grouped_weights(len(tiles))
    feeds: dict[str, AnyArray] = {"tiles": tiles, "tile_weights": weights}
    with tempfile.TemporaryDirectory(prefix="lineup-parity-") as scratch:
        outputs = outputs_from_file(graph.write(Path(scratch)), [feeds])[0]
    reference = "numpy float64 on drawn tiles"
    expected, strengths = fingerprints_reference(
        tiles, weights, checkpoint.spec, checkpoint.whitening
    )
    checked_parity(
        STRENGTH,
        list(outputs[STRENGTH]),
        list(strengths),
        reference=reference,
        tolerance=STRENGTH_TOLERANCE,
    )
    found, wanted = list(outputs[GRAPH]), list(expected)
    if checkpoint.real is not None:
        # One sample for all images: a single ratio may be 0, against which no error is small.
        found.append(outputs[REAL])
        wanted.append(real_llrs_reference(tiles, weights, checkpoint.spec, checkpoint.real))
    return checked_parity(GRAPH, found, wanted, reference=reference, tolerance=tolerance)


def _grouped_weights(count: int) -> AnyArray:
    """Return weights of `count` images of one tile, then of one of 2 tiles and one of the rest."""
    pair = np.zeros((1, count))
    pair[0, :2] = 1 / 2
    rest = np.where(pair > 0, 0.0, 1 / (count - 2))
    return np.concatenate([np.eye(count), pair, rest]).astype(np.float32)


def _fields(checkpoint: Checkpoint, sha256: str, max_tiles: int) -> dict[str, Any]:
    """Return what the manifest says of a checkpoint."""
    spec = checkpoint.spec
    real = {} if checkpoint.real is None else {REAL: dict(checkpoint.real_record)}
    return {
        "graphs": {},
        "created": today(),
        "kind": BundleKind.FINGERPRINT,
        "licence": "Apache-2.0",
        "source": Source(
            origin=Origin.TRAINED,
            id="lineup train whitening",
            revision=f"sha256:{sha256}",
            details={**checkpoint.record, **real},
        ),
        "tools": dict(sorted(tool_versions(OWN_TOOLS).items())),
        "preprocess": Preprocess(
            tile_size_px=spec.tile_size_px,
            max_tiles=max_tiles,
            resize_mode="none",
            colour_order="RGB",
            layout="NHWC",
            value_range=(0, 255),
        ),
        "fingerprint": FingerprintInfo(
            dimension=spec.fingerprint_dimension,
            method=METHOD,
            parts=(spec.dimension, TEXTURE_DIMENSION),
            details=spectrum_to_dict(spec),
        ),
    }
