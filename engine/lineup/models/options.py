"""What may be asked of a generator besides prompt and seeds."""

from __future__ import annotations

from dataclasses import dataclass

from lineup.errors import UsageError
from lineup.types import RgbImage


@dataclass(frozen=True, slots=True, eq=False)
class SynthesisOptions:
    """How images are made; what is None is the generator's own.

    Attributes:
        steps: Denoising steps, at least 1.
        guidance: Classifier-free guidance scale; 1 or less is none and costs half.
        negative_prompt: What guidance keeps away from.
        width_px: A multiple of the generator's latent factor.
        height_px: The same.
        strength: Above 0 and at most 1: how much of `init_image` is redrawn; needs it.
        init_image: Shape (height, width, 3), uint8 RGB: the image to start from, resized to the
            size asked for; needs `strength`.
        batch: Images per run of the denoiser. The result of an image does not depend on it beyond
            the rounding of the backend.

    Raises:
        UsageError: A value is out of range, or one of two that need each other is absent.
    """

    steps: int | None = None
    guidance: float | None = None
    negative_prompt: str = ""
    width_px: int | None = None
    height_px: int | None = None
    strength: float | None = None
    init_image: RgbImage | None = None
    batch: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "width_px", "height_px", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}, expected at least 1.")
        if self.guidance is not None and not 0 <= self.guidance < float("inf"):
            raise UsageError(f"The guidance is {self.guidance:g}, expected a number from 0 up.")
        if (self.strength is None) != (self.init_image is None):
            raise UsageError(
                "A strength and an image to start from go together, but only "
                f"{'an image' if self.strength is None else 'a strength'} was given.",
                hint="Give --init IMAGE and --strength between 0 and 1, or neither.",
            )
        if self.strength is not None and not 0 < self.strength <= 1:
            raise UsageError(f"The strength is {self.strength:g}, expected above 0 and at most 1.")
