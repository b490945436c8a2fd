"""One candidate: from a prompt and seeds to images, with one opened bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lineup.backends.device import Device
from lineup.backends.onnxrt import RuntimeOptions
from lineup.backends.opening import options_for_device
from lineup.bundles.bundle import Bundle
from lineup.bundles.manifest import BundleKind
from lineup.bundles.store import BundleStore
from lineup.closing import ClosesOnExit
from lineup.errors import UsageError
from lineup.memory import return_freed_memory
from lineup.models.autoencoder import VAE_DECODER, Autoencoder
from lineup.models.clock import StageClock
from lineup.models.components import Components
from lineup.models.denoise import UNET, Conditioning, Denoiser, check_latent_size
from lineup.models.options import SynthesisOptions
from lineup.models.pixels import encoder_input_from_image, images_from_decoded, resized
from lineup.models.sampling import sampled_latents
from lineup.models.schedulers.select import scheduler_from_manifest
from lineup.models.text import TextEncoders, TextStates, text_digest
from lineup.paths import home_dir
from lineup.types import Float32Array, RgbImage

DEFAULT_OPTIONS = SynthesisOptions()
"""Everything as the generator has it."""


class ImageGenerator(ClosesOnExit):
    """Makes images; a context manager that owns the graphs, which are loaded when first needed.

    An image depends on prompt, seed and options only.

    Args:
        bundle: A generator.
        device: Where its graphs run.
        options: Threads and caches.
        keep_graphs: Whether graphs stay loaded; otherwise denoising releases all but the denoiser,
            and decoding all but the decoder, so that one graph's memory is needed at a time.

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
        self._text = TextEncoders(self.components, self.info)
        self._denoiser = Denoiser(self.components)
        self._autoencoder = Autoencoder(self.components, self.info)
        self._last_negative: tuple[str, TextStates] | None = None

    @property
    def vae_family(self) -> str:
        """Generators of the same family share their autoencoder."""
        return self.info.vae_family

    @property
    def native_size(self) -> tuple[int, int]:
        """Width and height in pixels that the generator was trained for."""
        return self.info.native_width_px, self.info.native_height_px

    @property
    def clock(self) -> StageClock:
        """Time and calls per graph so far; loading is apart."""
        return self.components.clock

    def text_states(self, prompts: Sequence[str]) -> TextStates:
        """Encode prompts; states serve every generator with the same `text_digest`.

        Args:
            prompts: At least one text; too long ones are cut.

        Raises:
            BundleError: A tokenizer or graph is not what the manifest says.
            BackendError: A graph failed to run.
        """
        return self._text.states(prompts)

    def images(
        self,
        prompt: str | TextStates,
        seeds: Sequence[int],
        options: SynthesisOptions = DEFAULT_OPTIONS,
    ) -> list[RgbImage]:
        """Make one image per seed: `latents`, then `images_from_latents`.

        Args:
            prompt: A text, or its states.
            seeds: Each 0 to 2**64 - 1.
            options: What differs from the generator's defaults.

        Returns:
            Shape (height, width, 3) each, uint8 RGB.

        Raises:
            UsageError: Seeds or options are not possible with this generator.
            BundleError: The bundle lacks what is needed; names it.
            BackendError: A graph failed to run.
        """
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
                self._denoiser, scheduler, conditioning, seeds[batch], shape=shape, start=start
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

    def reconstructions(self, images: Sequence[RgbImage | Float32Array]) -> list[Float32Array]:
        """Encode and decode images with the autoencoder alone.

        Args:
            images: Shape (height, width, 3) each, RGB, sides multiples of the latent factor: uint8
                0..255, or float32 -1..1 such as an earlier reconstruction.

        Returns:
            The same shapes, float32, nominally -1..1, neither cut off nor rounded.

        Raises:
            UsageError: A side is not a multiple of the latent factor.
            BundleError: The bundle has no encoder.
            BackendError: A graph failed to run.
        """
        results = []
        for image in images:
            self._check_multiples(*image.shape[:2])
            latents = self._autoencoder.encode(encoder_input_from_image(image))
            decoded = self._autoencoder.decode(latents)[0]
            results.append(np.ascontiguousarray(decoded.transpose(1, 2, 0)))
        return results

    def close(self) -> None:
        """Release the graphs."""
        self.components.close()

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
        self._check_multiples(height, width)
        factor = self.info.latent_factor
        check_latent_size(self._denoiser.inputs, height // factor, width // factor, factor)
        return height, width

    def _check_multiples(self, height: int, width: int) -> None:
        factor = self.info.latent_factor
        if height % factor or width % factor:
            raise UsageError(
                f"{width}x{height} pixels do not fit {self.name}: "
                f"both sides have to be multiples of {factor}.",
                hint=f"Nearest below: {width // factor * factor}x{height // factor * factor}.",
            )

    def _conditioning(
        self, prompt: str | TextStates, options: SynthesisOptions, height: int, width: int
    ) -> Conditioning:
        guidance = self.info.guidance if options.guidance is None else options.guidance
        states = self.text_states([prompt]) if isinstance(prompt, str) else prompt
        if len(states.states) != 1:
            raise UsageError(
                f"The states of {len(states.states)} prompts were given, expected those of one."
            )
        is_guided = self._denoiser.needs_negative(guidance)
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


def open_generator(bundle: str | Path, *, device: str = "auto", threads: int = 0) -> ImageGenerator:
    """Verify a generator's bundle and open it; its graphs are loaded when first needed.

    Args:
        bundle: Name in the store or path of a folder.
        device: See `lineup.backends.device.device_from_text`.
        threads: Threads on the CPU; 0 takes every core.

    Raises:
        BundleError: The bundle is absent, altered or of another kind.
        DeviceUnavailableError: The device was asked for and is not usable.
    """
    resolved, options = options_for_device(device, threads)
    opened = BundleStore(home_dir()).open(bundle)
    return ImageGenerator(opened, resolved, options)
