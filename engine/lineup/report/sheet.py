"""An A4 page with headings, facts, lines, a table and pictures; knows nothing of what they say."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path

from fontTools.ttLib import TTFont
from fpdf import FPDF, FontFace, XPos, YPos
from fpdf.enums import TableBordersLayout

from lineup.report.entries import thumbnail_jpeg
from lineup.text import shown
from lineup.types import RgbImage

MARGIN_MM = 18
PICTURE_MM = 44
LABEL_MM = 38
LINE_MM = 4.6
TEXT_PT, SMALL_PT = 9.5, 8
THUMBNAIL_PX = 520
INK, DIM, RULE = (20, 24, 32), (90, 98, 112), (205, 210, 218)

PAGES = "\x7f"
"""Stands for the number of pages until it is known; in no text, which `shown` escapes it in."""

FONT_FOLDERS = (
    Path("/usr/share/fonts"),
    Path("/usr/local/share/fonts"),
    Path.home() / ".local/share/fonts",
    Path("/System/Library/Fonts"),
    Path("/Library/Fonts"),
    Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts",
)

FONT_NAMES = (
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
"""Fonts of this machine, for names that the standard fonts of PDF have no letters for.

Tried in this order, so that one machine always takes the same.
"""

Facts = Sequence[tuple[str, str]]
"""Labels and texts."""


class Sheet(FPDF):
    """A4 with headings, facts, lines and tables; foreign letters come from the machine's fonts.

    Args:
        sha256: Of the image; stands on every page.
        dated: See `write_exhibit`.
    """

    def __init__(self, sha256: str, dated: datetime) -> None:
        super().__init__(format="A4")
        self._sha256 = sha256
        self._dated = f"{dated.astimezone(timezone.utc):%Y-%m-%d}"
        self._others: list[str] = []
        self.set_creation_date(dated.astimezone(timezone.utc))
        self.set_title("Attribution of an image")
        self.set_creator("lineup")
        self.set_lang("en")
        self.set_margins(MARGIN_MM, MARGIN_MM, MARGIN_MM)
        self.set_auto_page_break(True, MARGIN_MM + 4)
        self.alias_nb_pages(PAGES)
        self.add_page()

    def footer(self) -> None:
        """Print the image's hash and the page's number; called on every page."""
        self.set_y(-MARGIN_MM + 2)
        self._font(SMALL_PT - 1, color=DIM)
        self.cell(0, 4, f"SHA-256 {self._sha256}")
        self.set_x(MARGIN_MM)
        self.cell(0, 4, f"{self._dated}   page {self.page_no()} of {PAGES}", align="R")

    def head(self, title: str, lines: Sequence[str], sentence: str, pixels: RgbImage) -> None:
        """Print what the page is about: titles, a sentence and what belongs to it, the image."""
        right = self.w - MARGIN_MM - PICTURE_MM
        height, width = pixels.shape[:2]
        scale = PICTURE_MM / max(height, width)
        size = width * scale, height * scale
        jpeg = io.BytesIO(thumbnail_jpeg(pixels, THUMBNAIL_PX))
        self.image(jpeg, right + PICTURE_MM - size[0], MARGIN_MM, *size, alt_text="The image")
        room = right - MARGIN_MM - 6
        self._block("Attribution of an image", room, color=DIM)
        self._block(title, room)
        self.ln(2)
        self._block(sentence, room, 15, style="B", line_mm=6.5)
        self.ln(1)
        for line in lines:
            self._block(line, room, color=DIM)
        self.set_y(max(self.get_y(), MARGIN_MM + size[1]))

    def heading(self, text: str) -> None:
        """Print a heading above a rule; never alone at the end of a page."""
        if self.will_page_break(22):
            self.add_page()
        self.ln(4.5)
        self._block(text, 0, 11, style="B", line_mm=5.5)
        self.set_draw_color(*RULE)
        self.line(MARGIN_MM, self.get_y(), self.w - MARGIN_MM, self.get_y())
        self.ln(1.2)

    def facts(self, facts: Facts) -> None:
        """Print labels with their texts beside them."""
        for label, text in facts:
            if self.will_page_break(LINE_MM):
                self.add_page()
            top = self.get_y()
            self._font(TEXT_PT, color=DIM)
            self.cell(LABEL_MM, LINE_MM, label)
            self.set_xy(MARGIN_MM + LABEL_MM, top)
            self._block(text, self.epw - LABEL_MM)

    def lines(self, lines: Iterable[str]) -> None:
        """Print paragraphs."""
        for line in lines:
            self._block(line, 0)
            self.ln(0.8)

    def grid(self, head: list[str], rows: list[list[str]], bold: list[bool]) -> None:
        """Print a table whose first column is text and whose others are numbers."""
        self._font(SMALL_PT)
        widths = (34, *[(self.epw - 34) / (len(head) - 1)] * (len(head) - 1))
        with self.table(
            width=self.epw,
            col_widths=widths,
            text_align=("LEFT", *["RIGHT"] * (len(head) - 1)),
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            line_height=LINE_MM,
            headings_style=FontFace(emphasis="", color=DIM),
        ) as table:
            table.row([shown(cell) for cell in head])
            for cells, is_bold in zip(rows, bold, strict=True):
                style = FontFace(emphasis="BOLD") if is_bold else None
                table.row([shown(cell) for cell in cells], style=style)
        self.ln(2)

    def pictures(self, pictures: Sequence[tuple[str, RgbImage]]) -> None:
        """Print the closest resynthesis of each candidate, four a line."""
        size, gap = 36.0, 5.0
        for start in range(0, len(pictures), 4):
            if self.will_page_break(size + 8):
                self.add_page()
            top = self.get_y() + 1
            for column, (name, pixels) in enumerate(pictures[start : start + 4]):
                x = MARGIN_MM + column * (size + gap)
                jpeg = io.BytesIO(thumbnail_jpeg(pixels, THUMBNAIL_PX))
                self.image(jpeg, x, top, size, size, keep_aspect_ratio=True, alt_text=f"By {name}")
                self.set_xy(x, top + size)
                self._block(f"resynthesis by {name}", size, SMALL_PT, color=DIM)
            self.set_xy(MARGIN_MM, top + size + 2 * LINE_MM)

    def _font(
        self,
        size: float,
        *,
        style: str = "",
        color: tuple[int, int, int] = INK,
        other: bool = False,
    ) -> None:
        self.set_font(self._others[0] if other else "helvetica", "" if other else style, size)
        self.set_text_color(*color)

    def _block(
        self,
        text: str,
        width: float,
        size: float = TEXT_PT,
        *,
        style: str = "",
        color: tuple[int, int, int] = INK,
        line_mm: float = LINE_MM,
    ) -> None:
        """Print a paragraph from where the pen is."""
        line = self._printable(shown(text))
        self._font(size, style=style, color=color, other=not _is_standard(line))
        self.multi_cell(width, line_mm, line, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _printable(self, text: str) -> str:
        """Return a text with what no font here has escaped; opens the fonts that it needs."""
        foreign = {one for one in text if not _is_standard(one)}
        if not foreign:
            return text
        fonts, missing = _fonts_with(foreign)
        for path in fonts:
            if path.stem not in self._others:
                self.add_font(path.stem, fname=path)
                self._others.append(path.stem)
        self.set_fallback_fonts(self._others[1:], exact_match=False)
        return "".join(_escaped(one) if one in missing else one for one in text)


def _fonts_with(characters: Iterable[str]) -> tuple[list[Path], set[str]]:
    """Return fonts that together have letters for characters, and the characters that none has."""
    missing = set(characters)
    chosen: list[Path] = []
    found = {
        path.name: path for folder in FONT_FOLDERS for path in sorted(folder.rglob("*.tt[fc]"))
    }
    for name in FONT_NAMES:
        if missing and name in found:
            with TTFont(found[name], fontNumber=0, lazy=True) as font:
                letters = set(map(chr, font.getBestCmap() or ()))
            if missing & letters:
                chosen.append(found[name])
                missing -= letters
    return chosen, missing


def _is_standard(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
