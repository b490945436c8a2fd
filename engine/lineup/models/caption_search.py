"""Greedy and beam search over a decoder that takes one token per sequence and step.

Both give what `generate(do_sample=False)` of transformers gives with `early_stopping=False`: the
same tokens, length penalty, minimum length and stopping rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lineup.backends.base import Runner, Value, host_array, rows_of
from lineup.bundles.info import CaptionerInfo
from lineup.errors import BackendError, UsageError
from lineup.types import Float32Array

Int64Array = npt.NDArray[np.int64]


class CachedDecoder:
    """The decoding of one batch of images.

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
        self._past_keys = rows_of(self._past_keys, rows)
        self._past_values = rows_of(self._past_values, rows)
        self._cross_keys = rows_of(self._cross_keys, rows)
        self._cross_values = rows_of(self._cross_values, rows)

    def reorder(self, rows: Int64Array) -> None:
        """Let sequence i go on from the past of sequence rows[i], which is of the same image.

        Args:
            rows: Shape (sequences,), int64.
        """
        if not np.array_equal(rows, np.arange(len(rows))):
            self._past_keys = rows_of(self._past_keys, rows)
            self._past_values = rows_of(self._past_values, rows)


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How captions are searched for.

    Attributes:
        end_id: Token that ends a caption.
        pad_id: Token that is fed for captions that have ended.
        max_new_tokens: Most tokens after the prefix, the end among them; at least 1.
        min_new_tokens: Fewest tokens after the prefix, the end not counted.
        beams: Captions followed at a time; 1 is greedy search.
        length_penalty: A caption of n new tokens, the end among them, competes with its log
            probability divided by n to this power: above 0 favours long ones, 0 is neutral.
            Greedy search has no use for it.
    """

    end_id: int
    pad_id: int
    max_new_tokens: int
    min_new_tokens: int = 0
    beams: int = 1
    length_penalty: float = 1.0


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What was found for one image.

    Attributes:
        tokens: After the prefix; with the end token, if the caption ended by itself.
        log_probability: Natural logarithm of the probability of these tokens after the prefix.
    """

    tokens: tuple[int, ...]
    log_probability: float


def search(
    decoder: CachedDecoder, prefix: Sequence[int], images: int, options: SearchOptions
) -> list[Hypothesis]:
    """Find a caption for each image; every step is one call of the decoder for all of them.

    The decoder has been fed nothing yet; every caption starts with `prefix`, at least one token.

    Raises:
        UsageError: There are more beams than the vocabulary can fill.
    """
    for token in prefix:
        logits = decoder.step(np.full(images, token, np.int64))
    if options.beams == 1:
        return _greedy(decoder, logits, options)
    vocabulary = logits.shape[1]
    if 2 * options.beams > vocabulary:
        raise UsageError(
            f"{options.beams} beams were asked for; a vocabulary of {vocabulary} tokens fills "
            f"at most {vocabulary // 2}.",
            hint="Ask for fewer beams.",
        )
    return _beam_search(decoder, logits, options)


def log_softmax(logits: Float32Array) -> Float32Array:
    """Return the natural logarithms of the probabilities, along the last axis, in float32."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    normaliser = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return np.asarray(shifted - normaliser, np.float32)


def _greedy(
    decoder: CachedDecoder, logits: Float32Array, options: SearchOptions
) -> list[Hypothesis]:
    images = len(logits)
    found: list[list[int]] = [[] for _ in range(images)]
    log_probabilities = np.zeros(images)
    is_open = np.ones(images, bool)
    for length in range(1, options.max_new_tokens + 1):
        steps = log_softmax(logits)
        # The largest logit, not the largest probability, in which rounding makes ties.
        chosen = _without_early_end(logits, length, options).argmax(axis=1)
        for row in np.flatnonzero(is_open):
            found[row].append(int(chosen[row]))
            log_probabilities[row] += float(steps[row, chosen[row]])
        is_open &= chosen != options.end_id
        if not is_open.any() or length == options.max_new_tokens:
            break
        logits = decoder.step(np.where(is_open, chosen, options.pad_id))
    return [
        Hypothesis(tuple(tokens), float(log_probability))
        for tokens, log_probability in zip(found, log_probabilities, strict=True)
    ]


def _beam_search(
    decoder: CachedDecoder, logits: Float32Array, options: SearchOptions
) -> list[Hypothesis]:
    images, beams = len(logits), options.beams
    searches = [_ImageSearch(options) for _ in range(images)]
    starts = beams * np.arange(images)[:, None]
    decoder.widen(beams)
    for length in range(1, options.max_new_tokens + 1):
        steps = _without_early_end(log_softmax(logits), length, options)
        for one, rows in zip(searches, np.split(steps, images), strict=True):
            one.advance(rows)
        if length == options.max_new_tokens or not any(one.is_open for one in searches):
            break
        if length > 1:
            parents = np.stack([one.parents for one in searches])
            decoder.reorder((starts + parents).ravel())
        logits = decoder.step(np.concatenate([one.last_tokens for one in searches]))
    return [one.best() for one in searches]


class _ImageSearch:
    """The beams of one image and what they found.

    Attributes:
        is_open: Whether the beams may still find something better than what was found.
        parents: Which beam each beam continues, shape (beams,).
        last_tokens: What each beam continues with, shape (beams,).
    """

    def __init__(self, options: SearchOptions) -> None:
        self._options = options
        self._sequences: list[tuple[int, ...]] = [()]
        self._sums = np.zeros(1, np.float32)
        self._found: list[tuple[float, Hypothesis]] = []
        self.is_open = True
        self.parents = np.zeros(options.beams, np.int64)
        self.last_tokens = np.full(options.beams, options.pad_id, np.int64)

    def advance(self, steps: Float32Array) -> None:
        """Take one step.

        Args:
            steps: Log probability of every next token after each beam, shape (beams, vocabulary);
                one row in the first step, where all beams are the same.
        """
        if not self.is_open:
            return
        beams, length = self._options.beams, len(self._sequences[0]) + 1
        sums = self._sums[:, None] + steps
        # At most one candidate per beam ends, so twice as many leave enough to go on with.
        candidates = _largest(sums.ravel(), 2 * beams)
        parents, tokens = np.divmod(candidates, sums.shape[1])
        sequences = [
            (*self._sequences[parent], int(token))
            for parent, token in zip(parents, tokens, strict=True)
        ]
        values = sums.ravel()[candidates]
        ends = tokens == self._options.end_id
        if length == self._options.max_new_tokens:
            ends = np.ones_like(ends)
        divisor = length**self._options.length_penalty
        for rank in np.flatnonzero(ends[:beams]):
            self._add(float(values[rank] / divisor), sequences[rank], float(values[rank]))
        going_on = np.flatnonzero(~ends)[:beams]
        if len(going_on):
            self._sequences = [sequences[rank] for rank in going_on]
            self._sums = values[going_on]
            self.parents, self.last_tokens = parents[going_on], tokens[going_on]
            # What the best beam would score if it ended here; longer it may do better, which
            # transformers leaves out of account unless early_stopping is "never".
            best_score = float(self._sums[0] / divisor)
            self.is_open = len(self._found) < beams or best_score > self._found[-1][0]
        if not self.is_open:
            # Fed on for the sake of the other images; there is nothing left to put in order.
            self.parents = np.arange(beams)

    def best(self) -> Hypothesis:
        """Return the hypothesis of the highest score."""
        return self._found[0][1]

    def _add(self, score: float, tokens: tuple[int, ...], log_probability: float) -> None:
        self._found.append((score, Hypothesis(tokens, log_probability)))
        # Stable: of equal scores the one that was found first comes first.
        self._found.sort(key=lambda entry: -entry[0])
        del self._found[self._options.beams :]


def _without_early_end(scores: Float32Array, length: int, options: SearchOptions) -> Float32Array:
    """Return the scores, that of the end at minus infinity where a caption is still too short."""
    if length > options.min_new_tokens:
        return scores
    scores = scores.copy()
    scores[:, options.end_id] = -np.inf
    return scores


def _largest(values: Float32Array, count: int) -> Int64Array:
    """Return the indices of the largest values, largest first."""
    chosen = np.argpartition(-values, count - 1)[:count]
    return np.asarray(chosen[np.argsort(-values[chosen], kind="stable")], np.int64)
