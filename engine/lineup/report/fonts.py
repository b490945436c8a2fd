"""Fonts of this machine, for names that the standard fonts of PDF have no letters for."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from fontTools.ttLib import TTFont

FOLDERS = (
    Path("/usr/share/fonts"),
    Path("/usr/local/share/fonts"),
    Path.home() / ".local/share/fonts",
    Path("/System/Library/Fonts"),
    Path("/Library/Fonts"),
    Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts",
)

NAMES = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "arial.ttf",
    "Arial Unicode.ttf",
    "NotoSansCJK-Regular.ttc",
    "DroidSansFallbackFull.ttf",
    "msyh.ttc",
    "YuGothR.ttc",
    "malgun.ttf",
    "NotoSansArabic-Regular.ttf",
    "NotoSansHebrew-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "NotoSansThai-Regular.ttf",
)
"""Tried in this order, so that one machine always takes the same."""


def fonts_with(
    characters: Iterable[str],
) -> tuple[list[Path], set[str]]:
    """Return fonts that together have letters for characters, and the characters that none has."""
    missing = set(characters)
    chosen: list[Path] = []
    found = {path.name: path for folder in FOLDERS for path in sorted(folder.rglob("*.tt[fc]"))}
    for name in NAMES:
        if missing and name in found:
            with TTFont(found[name], fontNumber=0, lazy=True) as font:
                letters = set(map(chr, font.getBestCmap() or ()))
            if missing & letters:
                chosen.append(found[name])
                missing -= letters
    return chosen, missing
