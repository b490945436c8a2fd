"""What a real CLIP says of an image: the reference evidence's embedding, and photograph or not.

The tokens of blocks in the middle of the tower tell generators apart far better than the last one,
which is mostly about what is in the picture (RefPrint, arXiv 2607.12052); a query is compared with
a source's images after the same channel (`lineup.gallery.comparing`). A logistic regression over
the tokens of several blocks, the final embedding and the fingerprint's texture tells photographs
from generated images, of generators that nobody trained on too.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lineup.closing import ClosesOnExit
from lineup.documents import DocumentFormat
from lineup.errors import BundleError, BundleFormatError
from lineup.files import sha256_from_file
from lineup.gallery.channel_comparing import part_of_fingerprints
from lineup.gallery.scoring import highest_rate
from lineup.gallery.support import EMBEDDINGS
from lineup.models.encoder import ImageEncoder, Layer
from lineup.paths import shipped_dir
from lineup.runtime import REFERENCE_BUNDLE, Runtime
from lineup.tensor_files import TensorFileFormat
from lineup.types import Float32Array, RgbImage

BESIDE_DEFAULT = (-2, 0, 2)
"""Which blocks an embedding joins, from the encoder's default one: one by itself says less."""

IDENTITY_DIGITS = 12

MANY = 0.1
"""Share from which images are counted out of a hundred."""


@dataclass(frozen=True, slots=True)
class PhotographRecord:
    """How a photograph head was fitted.

    Attributes:
        source: `ImageEncoder.source` of the tower that it reads.
        fingerprint: Digest of the fingerprint bundle whose last part it reads.
        blocks: Whose tokens it reads, counted from 1, before the final embedding.
        bias: Of the log ratio.
        limit: Ratios stay within +- this: what so many trials can show.
        photographs: How many images the calibration rests on, graphics that people made among them.
        generated: The same.
        details: Data, counts, seed.
    """

    source: str
    fingerprint: str
    blocks: tuple[int, ...]
    bias: float
    limit: float
    photographs: int
    generated: int
    details: dict[str, str | int | float]


PHOTOGRAPH_FILE = TensorFileFormat(
    "a photograph head",
    DocumentFormat(PhotographRecord, BundleFormatError, "Install lineup again."),
    "lineup_photograph",
)
"""Of `PhotographHead` what is an array, in half precision, under its name."""


def photograph_path() -> Path:
    """Return where the head inside the package is."""
    return shipped_dir() / "photograph.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class PhotographHead:
    """Tells photographs from generated images by one tower's tokens and one fingerprint.

    Graphics that people made count as photographs do.

    Attributes:
        record: How it was fitted.
        weights: Float32 (features,): those of `features_from_tokens`.
        photographs: Ratios of photographs in several channels, each by a fit that saw nothing of
            its collection, float32 (looks,).
        generated: The same of generated images.
    """

    record: PhotographRecord
    weights: Float32Array
    photographs: Float32Array
    generated: Float32Array

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Whose tokens it reads, in the order of its weights."""
        return (*self.record.blocks, "final")

    def llrs(self, tokens: Sequence[Float32Array], fingerprints: Float32Array) -> Float32Array:
        """Return natural-log likelihood ratios, photograph against generated, (images,).

        Args:
            tokens: Those of `layers`, each (images, dimension).
            fingerprints: Of the same images, (images, dimension).
        """
        texture = len(self.weights) - sum(one.shape[1] for one in tokens)
        features = features_from_tokens(tokens, fingerprints, texture)
        values = features @ self.weights + self.record.bias
        limit = self.record.limit
        return np.asarray(np.clip(values, -limit, limit), np.float32)

    def in_words(self, llr: float) -> str:
        """Return how many images of the calibration lie as far on that side of 0 as a ratio."""
        sign = -1 if llr < 0 else 1
        least = sign * float(np.float16(llr))  # as theirs are stored
        photographs, generated = (
            _rate_in_words(float((sign * left_out >= least).mean()), images)
            for left_out, images in (
                (self.photographs, self.record.photographs),
                (self.generated, self.record.generated),
            )
        )
        return (
            f"As {'little' if llr < 0 else 'much'} like a photograph are {photographs} photographs "
            f"and drawings of the calibration, and {generated} generated images."
        )


def features_from_tokens(
    tokens: Sequence[Float32Array], fingerprints: Float32Array, texture: int
) -> Float32Array:
    """Return what a head reads: tokens, then the end of the fingerprint, brought to length 1.

    Args:
        tokens: Of each layer, (images, dimension).
        fingerprints: Shape (images, dimension).
        texture: How many of a fingerprint's numbers its last part has.
    """
    rows, _ = part_of_fingerprints(fingerprints, slice(fingerprints.shape[1] - texture, None))
    return np.concatenate([*tokens, rows], axis=1)


def _rate_in_words(share: float, images: int) -> str:
    """Return a share of images, 0..1, claiming no more than so many of them can show."""
    least = highest_rate(0, images)
    if share * images < 1:
        return f"fewer than 1 in {1 / least:.0f}"
    if (1 - share) * images < 1:
        return f"more than {100 * (1 - least):.0f} of 100"
    return f"{100 * share:.0f} of 100" if share >= MANY else f"1 in {1 / share:.0f}"


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What the tower says of images.

    Attributes:
        embeddings: Joined tokens, (images, dimension), rows of length 1.
        tokens: What the photograph head reads of them, (images, dimension) per layer; empty where
            there is none.
    """

    embeddings: Float32Array
    tokens: tuple[Float32Array, ...]


def open_reference_encoder(runtime: Runtime) -> ReferenceEncoder | None:
    """Open the encoder of the reference evidence, where its bundle is.

    Raises:
        BundleError: It is altered, or an earlier version made it: what it says of an image cannot
            be compared with what the shipped gallery keeps.
    """
    if not runtime.has_bundle(REFERENCE_BUNDLE):
        return None
    device, options = runtime.place
    encoder = ImageEncoder(runtime.bundle(REFERENCE_BUNDLE), device.in_f32, options)
    reference = ReferenceEncoder(encoder)
    if reference.is_outdated:
        raise BundleError(
            f"{REFERENCE_BUNDLE} was pulled by an earlier version, which computed it less "
            "precisely: its embeddings cannot be compared with those of the shipped gallery.",
            hint=f"lineup models pull {REFERENCE_BUNDLE} --overwrite; without a network, "
            f"lineup models remove {REFERENCE_BUNDLE} leaves fingerprints alone.",
        )
    return reference


class ReferenceEncoder(ClosesOnExit):
    """Embeds images; owns the encoder.

    Attributes:
        digest: Identity of the encoder.
        blocks: Whose tokens an embedding joins: of `BESIDE_DEFAULT` those that the encoder has.
        key: What embeddings are filed under in a gallery: those of other weights or of other
            blocks cannot be compared.
    """

    def __init__(self, encoder: ImageEncoder, *, head_path: Path | None = None) -> None:
        self._encoder = encoder
        self._head_path = head_path or photograph_path()
        self.digest = encoder.digest
        around = (encoder.default_layer + step for step in BESIDE_DEFAULT)
        self.blocks = tuple(block for block in around if block in encoder.layers)
        identity = hashlib.sha256(f"{encoder.source}/{self.blocks}".encode()).hexdigest()
        self.key = f"{EMBEDDINGS}-{identity[:IDENTITY_DIGITS]}"

    @cached_property
    def head_digest(self) -> str:
        """Identity of the photograph head; empty where there is none."""
        return sha256_from_file(self._head_path) if self._head_path.exists() else ""

    @cached_property
    def _shipped(self) -> PhotographHead | None:
        if not self._head_path.exists():
            return None
        record, tensors = PHOTOGRAPH_FILE.read(self._head_path)
        return PhotographHead(record, **{k: v.astype(np.float32) for k, v in tensors.items()})

    def head(self, fingerprint_digest: str) -> PhotographHead | None:
        """Return the head that ships for this tower and a fingerprint bundle, if any.

        Raises:
            BundleFormatError: Its file is damaged.
        """
        head, read = self._shipped, (self._encoder.source, fingerprint_digest)
        is_for_them = head is not None and (head.record.source, head.record.fingerprint) == read
        return head if is_for_them else None

    @property
    def is_outdated(self) -> bool:
        """Whether the tower has the weights that the shipped head reads, multiplied otherwise.

        Raises:
            BundleFormatError: The head's file is damaged.
        """
        head = self._shipped
        return head is not None and head.record.source.startswith(f"{self._encoder.source}/")

    def embeddings(self, images: Sequence[RgbImage]) -> Float32Array:
        """Return the embeddings of `look` alone."""
        return self.look(images).embeddings

    def look(self, images: Sequence[RgbImage], head: PhotographHead | None = None) -> Look:
        """Return embeddings, and what a head reads, by one run of the tower an image.

        Args:
            images: Shape (height, width, 3), uint8 RGB; sizes may differ.
            head: Who reads.

        Raises:
            BackendError: The model failed.
        """
        layers = () if head is None else head.layers
        count = len(self.blocks)
        found = self._encoder.features_of_layers(images, [*self.blocks, *layers])
        return Look(_joined(found[:count]), found[count:])

    def close(self) -> None:
        """Release the encoder."""
        self._encoder.close()


def _joined(tokens: Sequence[Float32Array]) -> Float32Array:
    """Return tokens of length 1 side by side, with length 1: cosines are means of theirs."""
    joined: Float32Array = np.concatenate(tokens, axis=1) / np.float32(math.sqrt(len(tokens)))
    return joined
