"""One candidate: from a prompt and seeds to images, with one opened bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lineup.backends.device import Device
from lineup.backends.onnxrt import RuntimeOptions
from lineup.bundles.bundle import Bundle
from lineup.bundles.manifest import BundleKind
from lineup.closing import ClosesOnExit
from lineup.errors import UsageError
from lineup.machine import return_freed_memory
from lineup.models.autoencoder import (
    VAE_DECODER,
    Autoencoder,
    encoder_input_from_image,
    images_from_decoded,
    resized,
)
from lineup.models.components import Components
from lineup.models.denoise import (
    UNET,
    Conditioning,
    check_latent_size,
    needs_negative,
    sampled_latents,
)
from lineup.models.schedulers.samplers import scheduler_from_manifest
from lineup.models.text import TextStates, text_digest, text_states
from lineup.trace import Trace
from lineup.types import Float32Array, RgbImage

MOST_SIDE_PX = 8192
"""Of an image that is made: several times what any generator was trained on."""


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
        for name in ("width_px", "height_px"):
            if (getattr(self, name) or 0) > MOST_SIDE_PX:
                raise UsageError(
                    f"{name} is {getattr(self, name)}, expected at most {MOST_SIDE_PX}."
                )
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


DEFAULT_OPTIONS = SynthesisOptions()
"""Everything as the generator has it."""


class ImageGenerator(ClosesOnExit):
    """Makes images; a context manager that owns the graphs, which are loaded when first needed.

    An image depends on prompt, seed and options only.

    Graphs that are not kept are released as soon as they can be: denoising releases all but the
    denoiser, and decoding all but the decoder, so that one graph's memory is needed at a time.

    Raises:
        BundleFormatError: The bundle is of another kind.

    Attributes:
        name: Name of the bundle.
        digest: Identity of the bundle's content.
        text_digest: Equal for two generators that make the same text states of a prompt.
        info: Defaults and constants of the generator.
        device: Where its graphs run.
        components: The graphs, for whoever plans memory.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: Device,
        options: RuntimeOptions,
        *,
        keep_graphs: bool = True,
    ) -> None:
        bundle.require_kind(BundleKind.GENERATOR)
        manifest = bundle.manifest
        assert manifest.generation is not None
        assert manifest.scheduler is not None
        self.name = manifest.name
        self.digest = bundle.digest
        self.info = manifest.generation
        self.text_digest = text_digest(bundle, self.info)
        self.device = device
        self.components = Components(bundle, device, options)
        self._keeps_graphs = keep_graphs
        self._scheduler = manifest.scheduler
        self._autoencoder = Autoencoder(self.components, self.info)
        self._last_negative: tuple[str, TextStates] | None = None

    @property
    def vae_family(self) -> str:
        """Generators of the same family share their autoencoder."""
        return self.info.vae_family

    @property
    def trace(self) -> Trace:
        """Time and calls per graph so far; loading is apart."""
        return self.components.trace

    def text_states(self, prompts: Sequence[str]) -> TextStates:
        """Encode prompts; states serve every generator with the same `text_digest`.

        Args:
            prompts: At least one text; too long ones are cut.

        Raises:
            BundleError: A tokenizer or graph is not what the manifest says.
            BackendError: A graph failed to run.
        """
        self._load_ahead(UNET)
        return text_states(self.components, self.info.text_encoders, prompts)

    def images(
        self,
        prompt: str | TextStates,
        seeds: Sequence[int],
        options: SynthesisOptions = DEFAULT_OPTIONS,
    ) -> list[RgbImage]:
        """Make one image per seed: `latents`, then `images_from_latents`; see there."""
        self._load_ahead(UNET, VAE_DECODER)
        return self.images_from_latents(self.latents(prompt, seeds, options))

    def latents(
        self,
        prompt: str | TextStates,
        seeds: Sequence[int],
        options: SynthesisOptions = DEFAULT_OPTIONS,
    ) -> Float32Array:
        """Denoise one image per seed, which waits to be decoded.

        Whoever draws several prompts with graphs that are not kept denoises all of them first.

        Args:
            prompt: A text, or its states.
            seeds: Each 0 to 2**64 - 1.
            options: What differs from the generator's defaults.

        Returns:
            Shape (seeds, channels, rows, columns), float32.

        Raises:
            UsageError: Seeds or options are not possible with this generator.
            BundleError: The bundle lacks what is needed; names it.
            BackendError: A graph failed to run.
        """
        height, width = self._checked_size(options)
        strength = 1.0 if options.strength is None else options.strength
        scheduler = scheduler_from_manifest(
            self._scheduler, options.steps or self.info.steps, strength=strength
        )
        conditioning = self._conditioning(prompt, options, height, width)
        start = self._start(options, height, width)
        self._make_room(UNET)
        factor = self.info.latent_factor
        shape = (self.info.latent_channels, height // factor, width // factor)
        latents = np.empty((len(seeds), *shape), np.float32)
        for first in range(0, len(seeds), options.batch):
            batch = slice(first, first + options.batch)
            latents[batch] = sampled_latents(
                self.components, scheduler, conditioning, seeds[batch], shape=shape, start=start
            )
        return latents

    def images_from_latents(self, latents: Float32Array) -> list[RgbImage]:
        """Decode what `latents` returned.

        Args:
            latents: Shape (images, channels, rows, columns), float32.

        Returns:
            Shape (height, width, 3) each, uint8 RGB.

        Raises:
            BundleError: The bundle has no decoder.
            BackendError: The decoder failed to run.
        """
        self._make_room(VAE_DECODER)
        return [
            image
            for index in range(len(latents))
            for image in images_from_decoded(self._autoencoder.decode(latents[index : index + 1]))
        ]

    def close(self) -> None:
        """Release the graphs."""
        self.components.close()

    def _load_ahead(self, *roles: str) -> None:
        """Load the graphs of the phases that follow, where none need make room for another."""
        if self._keeps_graphs:
            self.components.load_ahead(*roles)

    def _make_room(self, role: str) -> None:
        """Release the graphs that another phase needed, unless they are kept."""
        others = [one for one in self.components.resident if one != role]
        if others and not self._keeps_graphs:
            self.components.release(*others)
            return_freed_memory()

    def _checked_size(self, options: SynthesisOptions) -> tuple[int, int]:
        """Return height and width in pixels."""
        height = options.height_px or self.info.native_height_px
        width = options.width_px or self.info.native_width_px
        factor = self.info.latent_factor
        if height % factor or width % factor:
            raise UsageError(
                f"{width}x{height} pixels do not fit {self.name}: "
                f"both sides have to be multiples of {factor}.",
                hint=f"Nearest below: {width // factor * factor}x{height // factor * factor}.",
            )
        check_latent_size(self.components, height // factor, width // factor, factor)
        return height, width

    def _conditioning(
        self, prompt: str | TextStates, options: SynthesisOptions, height: int, width: int
    ) -> Conditioning:
        guidance = self.info.guidance if options.guidance is None else options.guidance
        states = self.text_states([prompt]) if isinstance(prompt, str) else prompt
        if len(states.states) != 1:
            raise UsageError(
                f"The states of {len(states.states)} prompts were given, expected those of one."
            )
        is_guided = needs_negative(self.components, guidance)
        return Conditioning(
            positive=states,
            negative=self._negative(options.negative_prompt, states) if is_guided else None,
            guidance=guidance,
            width_px=width,
            height_px=height,
        )

    def _negative(self, prompt: str, positive: TextStates) -> TextStates:
        """Return the states of the negative prompt; the last are kept for the next call."""
        # Stable Diffusion XL was trained with zeros in place of an empty prompt.
        if not prompt and self._scheduler.get("force_zeros_for_empty_prompt", False):
            return positive.zeros()
        if self._last_negative is None or self._last_negative[0] != prompt:
            self._last_negative = (prompt, self.text_states([prompt]))
        return self._last_negative[1]

    def _start(self, options: SynthesisOptions, height: int, width: int) -> Float32Array | None:
        """Return the latents of the image to start from."""
        if options.init_image is None:
            return None
        image = resized(options.init_image, width, height)
        return self._autoencoder.encode(encoder_input_from_image(image))
