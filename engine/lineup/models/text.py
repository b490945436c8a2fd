"""From prompts to the states of a generator's text encoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lineup.bundles.bundle import Bundle
from lineup.bundles.info import GenerationInfo, TextEncoderInfo
from lineup.errors import BundleFormatError
from lineup.files import sha256_from_bytes
from lineup.models.components import Components
from lineup.types import AnyArray, Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class TextStates:
    """What the text encoders made of prompts.

    Attributes:
        states: Shape (prompts, length, D), float32: one vector per token, the encoders' joined
            along the last axis.
        pooled: Shape (prompts, P), float32: one vector per prompt, of the last encoder that has
            one; None when none has.
    """

    states: Float32Array
    pooled: Float32Array | None = None

    def zeros(self) -> TextStates:
        """Return states of the same shape that say nothing."""
        pooled = None if self.pooled is None else np.zeros_like(self.pooled)
        return TextStates(np.zeros_like(self.states), pooled)


def text_digest(bundle: Bundle, info: GenerationInfo) -> str:
    """Return the hex SHA-256 of all that turns a prompt into text states.

    Two generators with the same digest compute the same states from the same prompt.
    """
    hashes = {record.path: record.sha256 for record in bundle.manifest.files}
    parts = []
    for encoder in info.text_encoders:
        graph = bundle.manifest.graphs[encoder.role]
        # The graph names its weights by their hashes, so its own hash covers them.
        parts += [graph.file.sha256, hashes[encoder.tokenizer]]
        parts += [str(encoder.length), str(encoder.pad_token_id)]
    return sha256_from_bytes("\n".join(parts).encode("ascii"))


def text_states(
    components: Components, encoders: Sequence[TextEncoderInfo], prompts: Sequence[str]
) -> TextStates:
    """Encode prompts.

    There is at least one, of any length: cut or padded to the encoder's.

    Raises:
        BundleFormatError: A tokenizer or graph is not what the manifest says.
        BackendError: A graph failed to run.
    """
    states, pooled = [], None
    for encoder in encoders:
        tokens = tokens_from_prompts(components, prompts, encoder)
        outputs = components.run(encoder.role, {"tokens": tokens})
        states.append(outputs["text_states"])
        pooled = outputs.get("pooled", pooled)
    if len({part.shape[1] for part in states}) > 1:
        raise BundleFormatError(
            "The text encoders put out states of "
            f"{[part.shape[1] for part in states]} tokens; expected the same length of each.",
            hint="Export the bundle again.",
        )
    return TextStates(np.concatenate(states, axis=-1), pooled)


def tokens_from_prompts(
    components: Components, prompts: Sequence[str], encoder: TextEncoderInfo
) -> AnyArray:
    """Return token ids, shape (prompts, encoder.length), int64.

    A prompt that is too long is cut before its closing token; words that the tokenizer does not
    know become its unknown token.

    Raises:
        BundleFormatError: The tokenizer cannot encode a prompt.
    """
    tokenizer = components.tokenizer(encoder.tokenizer)
    tokenizer.enable_truncation(encoder.length)
    tokenizer.enable_padding(length=encoder.length, pad_id=encoder.pad_token_id)
    try:
        encodings = tokenizer.encode_batch(list(prompts))
    except Exception as error:  # tokenizers raises bare Exception
        raise BundleFormatError(
            f"{encoder.tokenizer} cannot encode a prompt: {error}",
            hint="A tokenizer whose vocabulary is closed needs an unknown token.",
        ) from error
    return np.array([encoding.ids for encoding in encodings], np.int64)
