"""Where the models of resynthesis come from: kept for all queries, or loaded for one stage of many.

Whoever needs a model takes it for a block of work. A source that keeps its models hands out the
same one each time; one that has little memory loads it at the start of the block and releases it at
the end (`lineup.lineups.loading`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from lineup.errors import UsageError
from lineup.evidence.resynthesis_models import FeatureEncoder, QueryCaptioner, Redrawer


class EncoderTraits(Protocol):
    """What is known of an encoder that is not loaded."""

    @property
    def digest(self) -> str:
        """Identity of what it computes."""
        ...

    @property
    def default_layer(self) -> int:
        """The layer that is meant by None."""
        ...


class ModelSource(Protocol):
    """Hands out the models that redraw and compare."""

    @property
    def names(self) -> tuple[str, ...]:
        """The candidates that can redraw."""
        ...

    @property
    def encoder_traits(self) -> EncoderTraits | None:
        """What is known of the encoder; None when there is none."""
        ...

    def captioner(self) -> AbstractContextManager[QueryCaptioner]:
        """Return the captioner for a block of work.

        Raises:
            UsageError: There is none.
        """
        ...

    def encoder(self) -> AbstractContextManager[FeatureEncoder]:
        """Return the encoder for a block of work; there is one."""
        ...

    def generator(self, candidate: str) -> AbstractContextManager[Redrawer[Any]]:
        """Return a candidate's generator for a block of work."""
        ...


class KeptModels:
    """Models that stay loaded; owned by the caller.

    Args:
        generators: Per candidate that can redraw.
        captioner: Describes queries; None when prompts are always given.
        encoder: Gives image features; None when they are never compared.
    """

    def __init__(
        self,
        generators: Mapping[str, Redrawer[Any]],
        captioner: QueryCaptioner | None = None,
        encoder: FeatureEncoder | None = None,
    ) -> None:
        self._generators = dict(generators)
        self._captioner = captioner
        self._encoder = encoder

    @property
    def names(self) -> tuple[str, ...]:
        """The candidates that can redraw."""
        return tuple(self._generators)

    @property
    def encoder_traits(self) -> EncoderTraits | None:
        """The encoder; None when there is none."""
        return self._encoder

    def captioner(self) -> AbstractContextManager[QueryCaptioner]:
        """Return the captioner.

        Raises:
            UsageError: There is none.
        """
        if self._captioner is None:
            raise no_captioner()
        return nullcontext(self._captioner)

    def encoder(self) -> AbstractContextManager[FeatureEncoder]:
        """Return the encoder."""
        assert self._encoder is not None
        return nullcontext(self._encoder)

    def generator(self, candidate: str) -> AbstractContextManager[Redrawer[Any]]:
        """Return a candidate's generator."""
        return nullcontext(self._generators[candidate])


def no_captioner() -> UsageError:
    """Return what a source raises that has no captioner."""
    return UsageError(
        "The lineup has no captioner, so the query's prompt has to be given.",
        hint="Pass it with --prompt TEXT.",
    )
