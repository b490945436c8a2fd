"""The models of a lineup that redraw queries, together."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from lineup.closing import ClosesOnExit
from lineup.evidence.resynthesis import Resynthesizer


class ResynthesisModels(ClosesOnExit):
    """A resynthesizer, and what an engine has to know of its models.

    Args:
        resynthesizer: Redraws queries and compares.
        families: Name of the VAE family per candidate that can redraw.
        digests: Identities of all models.
        owned: Closes the models.

    Attributes:
        resynthesizer: As given.
        families: As given.
        digests: As given.
    """

    def __init__(
        self,
        resynthesizer: Resynthesizer,
        *,
        families: Mapping[str, str] | None = None,
        digests: tuple[str, ...] = (),
        owned: ExitStack | None = None,
    ) -> None:
        self.resynthesizer = resynthesizer
        self.families = dict(families or {})
        self.digests = digests
        self._owned = owned or ExitStack()

    def close(self) -> None:
        """Release the models."""
        self._owned.close()
