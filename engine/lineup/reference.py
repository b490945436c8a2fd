"""The reference evidence's features: a middle layer of a real CLIP, of the whole image.

The token of a block in the middle of the tower tells generators apart far better than the last one,
which is mostly about what is in the picture (RefPrint, arXiv 2607.12052). A query is compared with
the nearest of a source's images that went through the same channel.
"""

from __future__ import annotations

from collections.abc import Sequence

from lineup.closing import ClosesOnExit
from lineup.models.encoder import ImageEncoder
from lineup.types import Float32Array, RgbImage

REFERENCE_BUNDLE = "clip-vit-b-16"
"""Used where it is there; `lineup models pull` fetches it."""

IDENTITY_DIGITS = 12


class ReferenceEncoder(ClosesOnExit):
    """Embeds images; owns the encoder.

    Attributes:
        digest: Identity of what is computed.
        key: What embeddings are filed under in a gallery: those of different encoders cannot be
            compared.
    """

    def __init__(self, encoder: ImageEncoder) -> None:
        self._encoder = encoder
        self.digest = encoder.digest
        self.key = f"embeddings-{encoder.digest[:IDENTITY_DIGITS]}"

    def embeddings(self, images: Sequence[RgbImage]) -> Float32Array:
        """Return the default block's token of each image, (images, dimension), rows of length 1.

        Args:
            images: Shape (height, width, 3), uint8 RGB; sizes may differ.

        Raises:
            BackendError: The model failed.
        """
        return self._encoder.features(images)

    def close(self) -> None:
        """Release the encoder."""
        self._encoder.close()
