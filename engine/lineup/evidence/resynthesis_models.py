"""What resynthesis needs of its models; any object of these shapes will do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from lineup.evidence.resynthesis_options import EncoderLayer
from lineup.trace import StageClock
from lineup.types import Float32Array, RgbImage

States = TypeVar("States")


class CaptionText(Protocol):
    """A caption."""

    @property
    def text(self) -> str:
        """What is in the picture."""
        ...


class QueryCaptioner(Protocol):
    """Describes images (`lineup.models.captioner`)."""

    def captions(self, images: Sequence[RgbImage]) -> Sequence[CaptionText]:
        """Return one caption per image."""
        ...


class FeatureEncoder(Protocol):
    """Gives image features (`lineup.models.encoder`)."""

    @property
    def digest(self) -> str:
        """Identity of what it computes."""
        ...

    @property
    def default_layer(self) -> int:
        """The layer that is meant by None."""
        ...

    def features(self, images: Sequence[RgbImage], layer: EncoderLayer = None) -> Float32Array:
        """Return one L2-normalised row per image, shape (images, D)."""
        ...


class FingerprintModel(Protocol):
    """Gives fingerprints (`lineup.fingerprint`)."""

    @property
    def digest(self) -> str:
        """Identity of what it computes."""
        ...

    def fingerprints(self, images: Sequence[RgbImage]) -> Float32Array:
        """Return one L2-normalised row per image, shape (images, D)."""
        ...


class Redrawer(Protocol[States]):
    """A candidate generator (`lineup.models.generator`)."""

    @property
    def digest(self) -> str:
        """Identity of what it computes."""
        ...

    @property
    def text_digest(self) -> str:
        """Identity of its text encoders; of the same value, text states can be shared."""
        ...

    @property
    def clock(self) -> StageClock:
        """Time and runs per graph since the generator was opened."""
        ...

    def text_states(self, prompts: Sequence[str]) -> States:
        """Encode prompts."""
        ...

    def latents(self, prompt: States, seeds: Sequence[int]) -> Float32Array:
        """Denoise one image per seed; return the latents, float32, the images along axis 0."""
        ...

    def images_from_latents(self, latents: Float32Array) -> Sequence[RgbImage]:
        """Decode latents; return one image each, (H, W, 3) uint8 RGB."""
        ...
