"""A stranger's text as it is shown: file names, what a file says of itself, messages with either.

For people. What machines read (rows, JSON) has its own exact escapes.
Also what the names of a generator's versions have in common.
"""

from __future__ import annotations

import itertools
import unicodedata

MOST_CHARACTERS = 4096
"""Longer than any path; more than this of one text tells nobody anything."""

SHOWN_DIGITS = 12


def shown(text: str, most_characters: int = MOST_CHARACTERS) -> str:
    r"""Return a text as one bounded line that a terminal only prints.

    Whatever is not printable is escaped as Python escapes it: control characters (`\x1b`), line
    ends (`\n`), marks that turn the direction of writing (`\u202e`), and the bytes of a file name
    that is not UTF-8, which are lone surrogates (`\udcff`). Spaces of every kind stay.

    Args:
        text: Any text.
        most_characters: Characters of it that are kept; "..." says that there were more.
    """
    kept = text[:most_characters]
    if not kept.isprintable():
        kept = "".join(map(_shown_character, kept))
    return kept if len(text) <= most_characters else f"{kept}..."


def short_digest(digest: str) -> str:
    """Return as much of a digest as tells people one from another."""
    return digest[:SHOWN_DIGITS]


def first_letters(name: str) -> str:
    """Return what the versions of one generator have in common: "sdxl" of "sdxl_turbo"."""
    return "".join(itertools.takewhile(str.isalpha, name)) or name


def _shown_character(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode("ascii")
