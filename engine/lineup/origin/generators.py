"""Which sources of the shipped gallery a declared generator may be, by a table."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Annotated

from msgspec import Meta

from lineup.claims import Claim, ClaimKind
from lineup.documents import DocumentFormat
from lineup.errors import LineupError
from lineup.paths import shipped_dir


@dataclass(frozen=True, slots=True)
class Generator:
    """One line of the table.

    Attributes:
        names: Parts of what it calls itself, with or without a version, in small letters.
        sources: What it may be; none where the gallery has none of it.
    """

    names: Annotated[tuple[Annotated[str, Meta(min_length=3)], ...], Meta(min_length=1)]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Generators:
    """The table; the first line with a name that fits counts, so versions stand before names."""

    generators: tuple[Generator, ...]


GENERATORS = DocumentFormat(Generators, LineupError, "lineup itself is damaged: install it again.")


@functools.cache
def _table() -> tuple[tuple[Generator, ...], frozenset[str]]:
    """Return the table, and every source in it."""
    data = (shipped_dir() / "generators.json").read_bytes()
    generators = GENERATORS.from_bytes(data, where="generators.json").generators
    return generators, frozenset(name for one in generators for name in one.sources)


def with_sources(claim: Claim) -> Claim:
    """Return a claim with the sources that its generator may be, and those that it is not."""
    if claim.kind is not ClaimKind.GENERATED:
        return claim
    names = ("software agent", "model", "Model", "ckpt", "unet")
    parts = [claim.generator, claim.version, *(claim.details.get(name) for name in names)]
    text = " ".join(part for part in parts if part).lower()
    generators, known = _table()
    for one in generators:
        if any(name in text for name in one.names):
            others = tuple(sorted(known - set(one.sources)))
            return replace(claim, sources=one.sources, excludes=others)
    return claim
