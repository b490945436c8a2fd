"""Captions of images: the inverted prompts from which candidates draw the query again.

The vision encoder runs once per image; the text decoder takes one token a step, for all images of
a run at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lineup.backends.base import Runner
from lineup.backends.building import device_of_bundle
from lineup.backends.device import Device
from lineup.backends.onnxrt import RuntimeOptions
from lineup.backends.opening import runner_from_bundle
from lineup.bundles.bundle import Bundle
from lineup.bundles.manifest import BundleKind
from lineup.closing import ClosesOnExit
from lineup.errors import UsageError
from lineup.models.caption_search import CachedDecoder, Hypothesis, SearchOptions, search
from lineup.models.preprocess import pixel_values_from_images, preprocess_from_bundle
from lineup.types import RgbImage

DEFAULT_BUNDLE = "pocket-captioner"
"""The bundle that is used when none is named."""

CPU_SEQUENCES_PER_RUN = 8
"""Most captions (images times beams) followed at a time on the CPU, unless one image has more.

The cross-attention keys and values of a sequence take 42 MB in BLIP base.
"""

GPU_SEQUENCES_PER_RUN = 32

MAX_LENGTH_PENALTY = 10.0


@dataclass(frozen=True, slots=True)
class CaptionOptions:
    """How captions are made.

    Attributes:
        beams: Captions followed at a time; 1 is greedy search.
        max_tokens: Most tokens of a caption, prompt and end token among them; None takes what
            the captioner's cache holds.
        min_tokens: Fewest tokens of a caption, the prompt among them, the end token not.
        length_penalty: See `lineup.models.caption_search.SearchOptions`.
        prompt: Text that every caption continues; None takes the captioner's own, "" none.

    Raises:
        UsageError: A number is out of its range.
    """

    beams: int = 1
    max_tokens: int | None = None
    min_tokens: int = 0
    length_penalty: float = 1.0
    prompt: str | None = None

    def __post_init__(self) -> None:
        lowest = {"beams": 1, "max_tokens": 1, "min_tokens": 0}
        for name, limit in lowest.items():
            value = getattr(self, name)
            if value is not None and value < limit:
                raise UsageError(f"{name} is {value}, expected at least {limit}.")
        if not math.fabs(self.length_penalty) <= MAX_LENGTH_PENALTY:
            raise UsageError(
                f"length_penalty is {self.length_penalty:g}, expected a number between "
                f"-{MAX_LENGTH_PENALTY:g} and {MAX_LENGTH_PENALTY:g}."
            )


DEFAULT_OPTIONS = CaptionOptions()


@dataclass(frozen=True, slots=True)
class Caption:
    """The caption of one image.

    Attributes:
        text: Prompt and what continues it, single spaces between words.
        token_ids: Its tokens, those of the prompt among them, begin and end tokens not.
        log_probability: Natural logarithm of the probability of what continues the prompt, the
            end token among it, given image and prompt; at most 0.
    """

    text: str
    token_ids: tuple[int, ...]
    log_probability: float


class Captioner(ClosesOnExit):
    """Captions images with one loaded bundle; a context manager that owns the sessions.

    Attributes:
        name: Name of the bundle.
        digest: Identity of the bundle's content.
        device: Where the graphs run.
    """

    def __init__(self, bundle: Bundle, device: Device, options: RuntimeOptions) -> None:
        bundle.require_kind(BundleKind.CAPTIONER)
        manifest = bundle.manifest
        assert manifest.captioner is not None
        assert manifest.tokenizer is not None
        self.name = manifest.name
        self.digest = bundle.digest
        self.device = device = device_of_bundle(manifest, device)
        self._info = manifest.captioner
        self._preprocess = preprocess_from_bundle(bundle)
        self._tokenizer = bundle.tokenizer(manifest.tokenizer)
        # A prompt is neither filled up nor cut, whatever the tokenizer was saved with.
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._vision: Runner = runner_from_bundle(bundle, "vision_encoder", device, options)
        self._decoder: Runner = runner_from_bundle(bundle, "text_decoder", device, options)

    def images_per_run(self, beams: int = 1) -> int:
        """Return how many images are captioned at a time."""
        sequences = CPU_SEQUENCES_PER_RUN if self.device.on_cpu else GPU_SEQUENCES_PER_RUN
        return max(1, sequences // beams)

    def captions(
        self, images: Sequence[RgbImage], options: CaptionOptions = DEFAULT_OPTIONS
    ) -> list[Caption]:
        """Caption images.

        Args:
            images: Shape (height, width, 3), uint8 RGB; sizes may differ.
            options: Search, lengths and prompt.

        Returns:
            One caption per image, in order; it does not depend on the other images.

        Raises:
            UsageError: The lengths or the prompt do not fit the captioner.
            BackendError: A graph failed to run.
        """
        prompt_ids = self._prompt_ids(options)
        search_options = self._search_options(options, len(prompt_ids))
        per_run = self.images_per_run(options.beams)
        found: list[Hypothesis] = []
        for start in range(0, len(images), per_run):
            found += self._search(images[start : start + per_run], prompt_ids, search_options)
        return [self._caption(prompt_ids, hypothesis) for hypothesis in found]

    def close(self) -> None:
        """Release the sessions."""
        self._vision.close()
        self._decoder.close()

    def _search(
        self, images: Sequence[RgbImage], prompt_ids: Sequence[int], options: SearchOptions
    ) -> list[Hypothesis]:
        pixel_values = pixel_values_from_images(images, self._preprocess)
        encoded = self._vision.run_resident(
            {"pixel_values": pixel_values}, ("cross_keys", "cross_values")
        )
        decoder = CachedDecoder(
            self._decoder, self._info, encoded["cross_keys"], encoded["cross_values"]
        )
        return search(decoder, [self._info.bos_token_id, *prompt_ids], len(images), options)

    def _prompt_ids(self, options: CaptionOptions) -> tuple[int, ...]:
        prompt = self._info.prompt if options.prompt is None else options.prompt
        return tuple(self._tokenizer.encode(prompt, add_special_tokens=False).ids)

    def _search_options(self, options: CaptionOptions, prompt_tokens: int) -> SearchOptions:
        """Translate lengths of whole captions into lengths after the prompt.

        A cache of n positions holds the begin token and all but the last token of a caption, so
        that captions have n tokens at most.
        """
        capacity = self._info.max_tokens
        limit = capacity if options.max_tokens is None else options.max_tokens
        if limit > capacity:
            raise UsageError(
                f"Captions of {limit} tokens were asked for; {self.name} makes up to {capacity}."
            )
        if prompt_tokens >= limit:
            raise UsageError(
                f"The prompt has {prompt_tokens} tokens, which leaves none of {limit} for what "
                "continues it.",
                hint="Shorten the prompt, or allow longer captions.",
            )
        if options.min_tokens > limit:
            raise UsageError(
                f"Captions of at least {options.min_tokens} and at most {limit} tokens were "
                "asked for."
            )
        return SearchOptions(
            end_id=self._info.eos_token_id,
            pad_id=self._info.pad_token_id,
            max_new_tokens=limit - prompt_tokens,
            min_new_tokens=max(0, options.min_tokens - prompt_tokens),
            beams=options.beams,
            length_penalty=options.length_penalty,
        )

    def _caption(self, prompt_ids: tuple[int, ...], hypothesis: Hypothesis) -> Caption:
        new_ids = tuple(one for one in hypothesis.tokens if one != self._info.eos_token_id)
        token_ids = (*prompt_ids, *new_ids)
        text = self._tokenizer.decode(token_ids, skip_special_tokens=True)
        return Caption(" ".join(text.split()), token_ids, hypothesis.log_probability)
