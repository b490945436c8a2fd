"""A text decoder graph with a static cache, driven one token at a time."""

from __future__ import annotations

import numpy as np

from lineup.backends.base import Runner, Value, host_array, rows_of
from lineup.bundles.info import CaptionerInfo
from lineup.errors import BackendError
from lineup.models.caption_search import Int64Array
from lineup.types import Float32Array


class CachedDecoder:
    """The decoding of one batch of images; a `lineup.models.caption_search.StepDecoder`.

    The graph gets its own past back, whole, as the arrays that it put out: nothing is copied
    between two steps unless beams change places. What concerns the images is never moved. On a
    GPU both stay there: of a step, tokens go in and logits come out.

    Args:
        runner: The graph `text_decoder`.
        info: Shape of its cache.
        cross_keys: Shape (images, layers, heads, image tokens, head dimension), float32.
        cross_values: The same shape, float32.
    """

    def __init__(
        self,
        runner: Runner,
        info: CaptionerInfo,
        cross_keys: Value,
        cross_values: Value,
    ) -> None:
        self._runner = runner
        self._max_tokens = info.max_tokens
        self._cross_keys, self._cross_values = cross_keys, cross_values
        images = cross_keys.shape[0]
        shape = (images, info.layers, info.heads, info.max_tokens, info.head_dimension)
        # One array for both: the graph masks the positions that nothing was written to.
        past = np.zeros(shape, np.float32)
        self._past_keys: Value = past
        self._past_values: Value = past
        self._position = 0

    def step(self, tokens: Int64Array) -> Float32Array:
        """Feed one token per sequence.

        Args:
            tokens: Shape (sequences,), int64.

        Returns:
            Logits of the next tokens, shape (sequences, vocabulary), float32.

        Raises:
            BackendError: The cache is full, the graph failed, or it put out what is no number.
        """
        if self._position >= self._max_tokens:
            raise BackendError(f"The cache of the text decoder is full: {self._max_tokens} tokens.")
        outputs = self._runner.run_resident(
            {
                "tokens": tokens,
                "position": np.array([self._position], np.int64),
                "past_keys": self._past_keys,
                "past_values": self._past_values,
                "cross_keys": self._cross_keys,
                "cross_values": self._cross_values,
            },
            ("keys", "values"),
        )
        self._past_keys, self._past_values = outputs["keys"], outputs["values"]
        self._position += 1
        logits: Float32Array = host_array(outputs["logits"])
        if np.isnan(logits).any():
            raise BackendError("The text decoder put out logits that are not numbers.")
        return logits

    def widen(self, count: int) -> None:
        """Make `count` sequences of each, side by side."""
        rows = np.repeat(np.arange(self._cross_keys.shape[0], dtype=np.int64), count)
        self._past_keys, self._past_values, self._cross_keys, self._cross_values = (
            rows_of(value, rows)
            for value in (
                self._past_keys,
                self._past_values,
                self._cross_keys,
                self._cross_values,
            )
        )

    def reorder(self, rows: Int64Array) -> None:
        """Let sequence i go on from the past of sequence rows[i], which is of the same image.

        Args:
            rows: Shape (sequences,), int64.
        """
        if not np.array_equal(rows, np.arange(len(rows))):
            self._past_keys = rows_of(self._past_keys, rows)
            self._past_values = rows_of(self._past_values, rows)
