"""Models of a lineup that are loaded for a block of work and released at its end.

Bundles are verified once, when the lineup is opened. Between the blocks no graph is in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from lineup.closing import ClosesOnExit
from lineup.evidence.resynthesis_sources import EncoderTraits, no_captioner
from lineup.memory import return_freed_memory
from lineup.models.captioner import Captioner
from lineup.models.encoder import ImageEncoder
from lineup.models.generator import ImageGenerator

Model = TypeVar("Model", bound=ClosesOnExit)


class LoadingModels:
    """A source that holds one model at a time.

    Args:
        generators: Opens the generator, per candidate that can redraw.
        captioner: Opens the captioner; None when there is none.
        encoder: Opens the encoder; None when there is none.
        encoder_traits: What is known of the encoder; None when there is none.

    Attributes:
        names: The candidates that can redraw.
        encoder_traits: As given.
    """

    def __init__(
        self,
        generators: Mapping[str, Callable[[], ImageGenerator]],
        *,
        captioner: Callable[[], Captioner] | None = None,
        encoder: Callable[[], ImageEncoder] | None = None,
        encoder_traits: EncoderTraits | None = None,
    ) -> None:
        self.names = tuple(generators)
        self.encoder_traits = encoder_traits
        self._generators = dict(generators)
        self._captioner = captioner
        self._encoder = encoder

    @contextmanager
    def captioner(self) -> Iterator[Captioner]:
        """Load the captioner for a block of work.

        Raises:
            UsageError: There is none.
        """
        if self._captioner is None:
            raise no_captioner()
        with _loaded(self._captioner) as model:
            yield model

    @contextmanager
    def encoder(self) -> Iterator[ImageEncoder]:
        """Load the encoder for a block of work."""
        assert self._encoder is not None
        with _loaded(self._encoder) as model:
            yield model

    @contextmanager
    def generator(self, candidate: str) -> Iterator[ImageGenerator]:
        """Load a candidate's generator for a block of work."""
        with _loaded(self._generators[candidate]) as model:
            yield model


@contextmanager
def _loaded(open_model: Callable[[], Model]) -> Iterator[Model]:
    with open_model() as model:
        yield model
    return_freed_memory()
