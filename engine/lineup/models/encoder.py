"""Image features: the CLS token of a block of a CLIP image tower, or its projected embedding.

A block in the middle tells generators apart far better than the last one, which is mostly about
what is in the picture (RefPrint, arXiv 2607.12052).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np

from lineup.backends.device import Device
from lineup.backends.onnxrt import RuntimeOptions
from lineup.bundles.bundle import Bundle
from lineup.bundles.manifest import BundleKind
from lineup.closing import ClosesOnExit
from lineup.errors import BackendError, UsageError
from lineup.models.components import Components
from lineup.models.preprocess import pixel_values_from_images, preprocess_from_bundle
from lineup.types import Float32Array, RgbImage

GPU_IMAGES_PER_RUN = 32

CPU_RUNS_AT_ONCE = 2
"""Between its operators a run leaves cores idle: two of one image each take a fifth less time than
one of two."""

WHOLE_TOWER = "image_tower"
CUT_TOWER = "image_tower_cut"

Layer = int | Literal["final"] | None
"""A block counted from 1, "final" for the projected embedding, None for the default block."""


class ImageEncoder(ClosesOnExit):
    """Computes image features with one loaded bundle; a context manager that owns the sessions.

    A graph is loaded when it is first needed: as long as only the default layer is asked for,
    that is the tower that ends there, if the bundle has one.

    Attributes:
        name: Name of the bundle.
        digest: Identity of the bundle's content; features of different digests cannot be compared.
        source: Where its weights come from: the same under whatever form of the graph.
        layers: Blocks that can be asked for, rising.
        default_layer: The block that is taken when none is named.
        device: Where the graphs run.
    """

    def __init__(self, bundle: Bundle, device: Device, options: RuntimeOptions) -> None:
        bundle.require_kind(BundleKind.ENCODER)
        manifest = bundle.manifest
        assert manifest.encoder is not None
        self.name = manifest.name
        self.digest = bundle.digest
        self.source = f"{manifest.source.id}@{manifest.source.revision}"
        self.layers = manifest.encoder.layers
        self.default_layer = manifest.encoder.default_layer
        self.device = device
        # Where activations are quantised per run, an image's feature would follow its neighbours.
        self._most_images = None if manifest.batch is None else manifest.batch.maximum
        self._info = manifest.encoder
        self._preprocess = preprocess_from_bundle(bundle)
        self._components = Components(bundle, device, options)
        self._pool = ThreadPoolExecutor(CPU_RUNS_AT_ONCE, "lineup-encode")
        self._has_cut_tower = CUT_TOWER in manifest.graphs
        # Read, not run: a bundle without it is of no use, whatever is asked for.
        bundle.graph_path(WHOLE_TOWER)

    def dimension(self, layer: Layer = None) -> int:
        """Return the length of a feature.

        Raises:
            UsageError: The bundle does not have the layer; names those it has.
        """
        self.check_layer(layer)
        if layer != "final":
            return self._info.dimension
        assert self._info.embedding_dimension is not None
        return self._info.embedding_dimension

    def check_layer(self, layer: Layer) -> None:
        """Check that a layer can be asked for, without computing anything.

        Raises:
            UsageError: The bundle does not have the layer; names those it has.
        """
        offered: list[Layer] = [None, *self.layers]
        if self._info.embedding_dimension is not None:
            offered.append("final")
        if layer not in offered:
            names = ", ".join(str(one) for one in offered if one is not None)
            raise UsageError(
                f"Layer {layer} was asked for; {self.name} has the layers {names}.",
                hint="Choose one of them, or another encoder.",
            )

    def features(self, images: Sequence[RgbImage], layer: Layer = None) -> Float32Array:
        """Compute one feature per image.

        Args:
            images: Shape (height, width, 3), uint8 RGB; sizes may differ.
            layer: A block counted from 1, "final" for the projected embedding, None for the
                default block.

        Returns:
            Shape (images, dimension), float32; every row has length 1.

        Raises:
            UsageError: The bundle does not have the layer; names those it has.
            BackendError: A graph failed to run, or put out what is no feature.
        """
        return self.features_of_layers(images, [layer])[0]

    def features_of_layers(
        self, images: Sequence[RgbImage], layers: Sequence[Layer]
    ) -> tuple[Float32Array, ...]:
        """Compute the features of several layers at once; see `features`.

        Returns:
            One array per layer, shape (images, dimension), float32; every row has length 1.
        """
        rows = [np.empty((len(images), self.dimension(layer)), np.float32) for layer in layers]
        per_run = 1 if self.device.on_cpu else GPU_IMAGES_PER_RUN
        if self._most_images is not None:
            per_run = min(per_run, self._most_images)

        def fill(start: int) -> None:
            run = slice(start, start + per_run)
            for found, raw in zip(rows, self._raw_features(images[run], layers), strict=True):
                found[run] = self._normalised(raw)

        starts = range(0, len(images), per_run)
        if self.device.on_cpu and len(starts) > 1:
            list(self._pool.map(fill, starts))  # which raises what a run raised
        else:
            for start in starts:
                fill(start)
        return tuple(rows)

    def close(self) -> None:
        """Release the sessions; the pool's threads end with it."""
        self._components.close()

    def _raw_features(
        self, images: Sequence[RgbImage], layers: Sequence[Layer]
    ) -> list[Float32Array]:
        is_default = all(layer in (None, self.default_layer) for layer in layers)
        role = CUT_TOWER if is_default and self._has_cut_tower else WHOLE_TOWER
        pixel_values = pixel_values_from_images(images, self._preprocess)
        outputs = self._components.run(role, {"pixel_values": pixel_values})
        there = (self.default_layer,) if role == CUT_TOWER else self.layers
        cls = outputs["cls"]
        expected = (len(images), len(there), self._info.dimension)
        if cls.shape != expected:
            raise BackendError(
                f"The graph {role} of {self.name} put out the shape {list(cls.shape)}, "
                f"expected {list(expected)}."
            )
        return [
            outputs["embedding"]
            if layer == "final"
            else cls[:, there.index(self.default_layer if layer is None else layer)]
            for layer in layers
        ]

    def _normalised(self, rows: Float32Array) -> Float32Array:
        # In float64: the squares of large activations overflow nothing there.
        lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
        if not (np.isfinite(lengths) & (lengths > 0)).all():
            raise BackendError(
                f"{self.name} put out a feature of length {lengths.min():g} to {lengths.max():g}, "
                "which has no direction."
            )
        return np.asarray(rows / lengths, np.float32)
