"""What a real CLIP says of an image: the reference evidence's embedding, and photograph or not.

The token of a block in the middle of the tower tells generators apart far better than the last one,
which is mostly about what is in the picture (RefPrint, arXiv 2607.12052); a query is compared with
the nearest of a source's images that went through the same channel. A logistic regression over the
tokens of several blocks and the final embedding tells photographs from generated images, of
generators that nobody trained on too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lineup.closing import ClosesOnExit
from lineup.documents import DocumentFormat
from lineup.errors import BundleFormatError
from lineup.gallery.gallery import EMBEDDINGS
from lineup.models.encoder import ImageEncoder, Layer
from lineup.paths import shipped_dir
from lineup.runtime import REFERENCE_BUNDLE, Runtime
from lineup.tensor_files import TensorFileFormat
from lineup.types import Float32Array, RgbImage

IDENTITY_DIGITS = 12


@dataclass(frozen=True, slots=True)
class PhotographRecord:
    """How a photograph head was fitted.

    Attributes:
        source: `ImageEncoder.source` of the tower that it reads.
        blocks: Whose tokens it reads, counted from 1, before the final embedding.
        bias: Of the log ratio.
        limit: Ratios stay within +- this: what so many trials can show.
        details: Data, counts, seed.
    """

    source: str
    blocks: tuple[int, ...]
    bias: float
    limit: float
    details: dict[str, str | int | float]


PHOTOGRAPH_FILE = TensorFileFormat(
    "a photograph head",
    DocumentFormat(PhotographRecord, BundleFormatError, "Install lineup again."),
    "lineup_photograph",
)
"""Weights of the log likelihood ratio, float32 (features,), under `weights`."""


def photograph_path() -> Path:
    """Return where the head inside the package is."""
    return shipped_dir() / "photograph.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class PhotographHead:
    """Tells photographs from generated images by one tower's tokens.

    Attributes:
        record: How it was fitted.
        weights: Float32 (features,): of the blocks' tokens, then of the final embedding.
    """

    record: PhotographRecord
    weights: Float32Array

    @property
    def layers(self) -> tuple[Layer, ...]:
        """What it reads, in the order of its weights."""
        return (*self.record.blocks, "final")

    def llrs(self, tokens: Sequence[Float32Array]) -> Float32Array:
        """Return natural-log likelihood ratios, photograph against generated, (images,)."""
        values = np.concatenate(tokens, axis=1) @ self.weights + self.record.bias
        limit = self.record.limit
        return np.asarray(np.clip(values, -limit, limit), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What the tower says of images.

    Attributes:
        embeddings: Token of the default block, (images, dimension), rows of length 1.
        photograph_llrs: Natural-log likelihood ratio, photograph against generated, (images,);
            None where no head was fitted to this tower.
    """

    embeddings: Float32Array
    photograph_llrs: Float32Array | None


def open_reference_encoder(runtime: Runtime) -> ReferenceEncoder | None:
    """Open the encoder of the reference evidence, where its bundle is.

    Raises:
        BundleError: It is altered.
    """
    if not runtime.has_bundle(REFERENCE_BUNDLE):
        return None
    device, options = runtime.place
    return ReferenceEncoder(ImageEncoder(runtime.bundle(REFERENCE_BUNDLE), device.in_f32, options))


class ReferenceEncoder(ClosesOnExit):
    """Embeds images; owns the encoder.

    Attributes:
        digest: Identity of what is computed.
        key: What embeddings are filed under in a gallery: those of other weights or of another
            block cannot be compared.
    """

    def __init__(self, encoder: ImageEncoder, *, head_path: Path | None = None) -> None:
        self._encoder = encoder
        self._head_path = head_path or photograph_path()
        self.digest = encoder.digest
        identity = hashlib.sha256(f"{encoder.source}/{encoder.default_layer}".encode()).hexdigest()
        self.key = f"{EMBEDDINGS}-{identity[:IDENTITY_DIGITS]}"

    @cached_property
    def head(self) -> PhotographHead | None:
        """The head that ships for this tower, if any.

        Raises:
            BundleFormatError: Its file is damaged.
        """
        if not self._head_path.exists():
            return None
        record, tensors = PHOTOGRAPH_FILE.read(self._head_path)
        if record.source != self._encoder.source:
            return None
        return PhotographHead(record, np.asarray(tensors["weights"], np.float32))

    def embeddings(self, images: Sequence[RgbImage]) -> Float32Array:
        """Return the default block's token of each image, (images, dimension), rows of length 1.

        Args:
            images: Shape (height, width, 3), uint8 RGB; sizes may differ.

        Raises:
            BackendError: The model failed.
        """
        return self._encoder.features(images)

    def look(self, images: Sequence[RgbImage]) -> Look:
        """Return all that is known of images, by one run of the tower each; see `embeddings`."""
        if self.head is None:
            return Look(self.embeddings(images), None)
        found = self._encoder.features_of_layers(images, [None, *self.head.layers])
        return Look(found[0], self.head.llrs(found[1:]))

    def close(self) -> None:
        """Release the encoder."""
        self._encoder.close()
