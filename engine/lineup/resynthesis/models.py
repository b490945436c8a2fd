"""Where the models of resynthesis come from: kept for all queries, or loaded for one stage of many.

Whoever needs a model takes it for a block of work. A source that keeps its models hands out the
same one each time; one that has little memory loads it at the start of the block and releases it at
the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from lineup.closing import ClosesOnExit
from lineup.machine import return_freed_memory

if TYPE_CHECKING:
    from lineup.models.captioner import Captioner
    from lineup.models.encoder import ImageEncoder
    from lineup.models.generator import ImageGenerator

Model = TypeVar("Model", bound=ClosesOnExit)


@dataclass(frozen=True, slots=True, eq=False)
class ModelSource:
    """Hands out the models that resynthesise and compare, each for a block of work.

    Attributes:
        generators: Per candidate that can resynthesise.
        captioner: Describes queries; None when prompts are always given.
        encoder: Gives image features; None when they are never compared.
        encoder_traits: Tells the encoder's digest and default layer; its graphs need not be loaded.
    """

    generators: Mapping[str, Callable[[], AbstractContextManager[ImageGenerator]]] = field(
        default_factory=dict
    )
    captioner: Callable[[], AbstractContextManager[Captioner]] | None = None
    encoder: Callable[[], AbstractContextManager[ImageEncoder]] | None = None
    encoder_traits: ImageEncoder | None = None

    @classmethod
    def kept(
        cls,
        generators: Mapping[str, ImageGenerator],
        captioner: Captioner | None = None,
        encoder: ImageEncoder | None = None,
    ) -> ModelSource:
        """Return a source of models that stay loaded and that the caller owns."""
        return cls(
            {name: _kept(one) for name, one in generators.items()},
            None if captioner is None else _kept(captioner),
            None if encoder is None else _kept(encoder),
            encoder,
        )

    @classmethod
    def loading(
        cls,
        generators: Mapping[str, Callable[[], ImageGenerator]],
        captioner: Callable[[], Captioner] | None = None,
        encoder: Callable[[], ImageEncoder] | None = None,
        encoder_traits: ImageEncoder | None = None,
    ) -> ModelSource:
        """Return a source that opens a model for a block and closes it at its end."""
        return cls(
            {name: partial(_loaded, one) for name, one in generators.items()},
            None if captioner is None else partial(_loaded, captioner),
            None if encoder is None else partial(_loaded, encoder),
            encoder_traits,
        )


def _kept(model: Model) -> Callable[[], AbstractContextManager[Model]]:
    return lambda: nullcontext(model)


@contextmanager
def _loaded(open_model: Callable[[], Model]) -> Iterator[Model]:
    with open_model() as model:
        yield model
    return_freed_memory()
