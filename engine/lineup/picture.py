"""The picture that explains a verdict: the query beside each candidate's best resynthesis."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lineup.errors import UsageError
from lineup.files import write_atomic
from lineup.results import REAL, UNKNOWN, Attribution, Resyntheses, Verdict
from lineup.types import RgbImage

TILE_PX = 300
TEXT_PX = 17
LINE_PX = 24
GAP_PX = 28
MARGIN_PX = 36
FRAME_PX = 5
RATIO_PX = 62
"""Width of the column of log likelihood ratios."""

TITLE_PX = 30
MAX_COLUMNS = 4

PAPER = (250, 250, 248)
INK = (28, 30, 34)
QUIET = (104, 110, 118)
RULE = (214, 216, 218)
MARK = (20, 108, 67)
NONE_MARK = (138, 88, 12)
WELL = (233, 234, 233)


@dataclass(frozen=True, slots=True)
class Tile:
    """One image of the picture and the text below it.

    Attributes:
        pixels: Shape (H, W, 3), uint8 RGB.
        name: First line, larger.
        lines: Further lines: text, and what stands at the right in up to two columns.
        badge: Text on the frame of a tile that stands out; empty for the others.
        colour: Of the frame and the badge.
    """

    pixels: RgbImage
    name: str
    lines: tuple[tuple[str, ...], ...] = ()
    badge: str = ""
    colour: tuple[int, int, int] = MARK


def write_picture(path: Path, query: RgbImage, answer: Attribution, *, title: str) -> None:
    """Write the picture as PNG, whole or not at all.

    Args:
        path: The file.
        query: Shape (H, W, 3), uint8 RGB.
        answer: With resyntheses.
        title: What the query is called, e.g. its file name.

    Raises:
        UsageError: The file cannot be written.
    """
    stream = io.BytesIO()
    picture = picture_from_attribution(query, answer, title=title)
    Image.fromarray(picture).save(stream, format="PNG")
    try:
        write_atomic(path, stream.getvalue())
    except OSError as error:
        raise UsageError(
            f"Cannot write {path}: {error.strerror or error}.",
            hint="Give a file in a folder that can be written to.",
        ) from error


def picture_from_attribution(query: RgbImage, answer: Attribution, *, title: str) -> RgbImage:
    """Return the picture, shape (H, W, 3), uint8 RGB.

    Args:
        query: Shape (H, W, 3), uint8 RGB.
        answer: With resyntheses.
        title: What the query is called, e.g. its file name.
    """
    verdict, made = answer.verdict, answer.resyntheses
    assert verdict is not None
    assert made is not None
    ranked = sorted(made.images, key=lambda name: -verdict.posterior[name])
    tiles = [
        _query_tile(query, verdict, made, title),
        *(_candidate_tile(name, verdict, made) for name in ranked),
    ]
    return _Sheet(tiles, _headline(verdict), _paragraphs(verdict)).drawn()


def _query_tile(query: RgbImage, verdict: Verdict, made: Resyntheses, title: str) -> Tile:
    """Return the query's tile, marked when the verdict is none of the other tiles."""
    height, width = query.shape[:2]
    return Tile(
        pixels=query,
        name="query",
        lines=((title,), (f"{width} x {height} px",)),
        badge="" if verdict.label in made.images else verdict.label,
        colour=NONE_MARK if verdict.label in (UNKNOWN, REAL) else MARK,
    )


def _candidate_tile(name: str, verdict: Verdict, made: Resyntheses) -> Tile:
    scored = [one for one in verdict.evidence if name in one.scores]
    lines = [
        (one.name, f"{one.scores[name]:.3f}", f"{one.llr[name]:+.2f}" if name in one.llr else "")
        for one in scored
    ]
    members = verdict.family or (verdict.label,)
    return Tile(
        pixels=made.best_image(name),
        name=f"{name}   {100 * verdict.posterior[name]:.1f} %",
        lines=(("", "score", "LLR"), *lines),
        badge=("family" if verdict.family else "verdict") if name in members else "",
    )


def _headline(verdict: Verdict) -> str:
    share = f"{100 * verdict.title_probability:.1f} %"
    if verdict.label == UNKNOWN:
        none = 100 * (verdict.posterior[UNKNOWN] + verdict.posterior[REAL])
        return f"unknown: none of the candidates, {none:.1f} %"
    if verdict.label == REAL:
        return f"real: a photograph or drawing, {share}"
    return f"made by {verdict.title}, {share}"


def _paragraphs(verdict: Verdict) -> list[str]:
    """Return what stands below the headline: caption, and what is left for no candidate."""
    caption = [] if verdict.caption is None else [f"“{verdict.caption}”"]
    unknown, real = (100 * verdict.posterior[name] for name in (UNKNOWN, REAL))
    return [*caption, f"unknown {unknown:.1f} %, real {real:.1f} %"]


class _Sheet:
    """Lays tiles out in a grid below two lines of text.

    Args:
        tiles: At least one.
        headline: Large line.
        paragraphs: Smaller text, each broken into as many lines as it needs.
    """

    def __init__(self, tiles: Sequence[Tile], headline: str, paragraphs: Sequence[str]) -> None:
        self._tiles = tiles
        self._headline = headline
        self._fonts = {
            size: ImageFont.load_default(size) for size in (TEXT_PX - 2, TEXT_PX + 3, TITLE_PX)
        }
        self._columns = _columns(len(tiles))
        self._cell = TILE_PX + 2 * FRAME_PX
        self._width = 2 * MARGIN_PX + self._columns * (self._cell + GAP_PX) - GAP_PX
        room = self._width - 2 * MARGIN_PX
        self._subtitle = [line for one in paragraphs for line in self._wrapped(one, room)]

    def drawn(self) -> RgbImage:
        """Return the sheet, shape (H, W, 3), uint8 RGB."""
        top = MARGIN_PX + TITLE_PX + 18 + LINE_PX * len(self._subtitle) + 22
        text_lines = max(len(tile.lines) for tile in self._tiles)
        cell_height = TILE_PX + 2 * FRAME_PX + 12 + LINE_PX * (1 + text_lines) + GAP_PX
        rows = math.ceil(len(self._tiles) / self._columns)
        height = top + rows * cell_height - GAP_PX + MARGIN_PX
        sheet = Image.new("RGB", (self._width, height), PAPER)
        draw = ImageDraw.Draw(sheet)
        self._draw_head(draw, top)
        for index, tile in enumerate(self._tiles):
            row, column = divmod(index, self._columns)
            x = MARGIN_PX + column * (self._cell + GAP_PX)
            self._draw_tile(sheet, draw, tile, x, top + row * cell_height)
        return np.asarray(sheet, np.uint8)

    def _draw_head(self, draw: ImageDraw.ImageDraw, top: int) -> None:
        y = MARGIN_PX - 8
        headline = self._cut(self._headline, TITLE_PX, self._width - 2 * MARGIN_PX)
        draw.text((MARGIN_PX, y), headline, INK, font=self._fonts[TITLE_PX])
        y += TITLE_PX + 18
        for line in self._subtitle:
            draw.text((MARGIN_PX, y), line, QUIET, font=self._fonts[TEXT_PX - 2])
            y += LINE_PX
        draw.line([(MARGIN_PX, top - 16), (self._width - MARGIN_PX, top - 16)], RULE, 1)

    def _draw_tile(
        self, sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, x: int, y: int
    ) -> None:
        last, inner = self._cell - 1, self._cell - 1 - FRAME_PX
        draw.rectangle([x, y, x + last, y + last], fill=tile.colour if tile.badge else WELL)
        draw.rectangle([x + FRAME_PX, y + FRAME_PX, x + inner, y + inner], fill=WELL)
        image = _fitted(tile.pixels)
        left = x + (self._cell - image.width) // 2
        sheet.paste(image, (left, y + (self._cell - image.height) // 2))
        if tile.badge:
            self._draw_badge(draw, tile, x + self._cell, y)
        y += self._cell + 10
        large = self._fonts[TEXT_PX + 3]
        ink = tile.colour if tile.badge else INK
        draw.text((x, y), self._cut(tile.name, TEXT_PX + 3), ink, font=large)
        for line in tile.lines:
            y += LINE_PX
            self._draw_line(draw, line, x, y + 4)

    def _draw_line(self, draw: ImageDraw.ImageDraw, line: tuple[str, ...], x: int, y: int) -> None:
        font = self._fonts[TEXT_PX - 2]
        draw.text((x, y), self._cut(line[0], TEXT_PX - 2), QUIET, font=font)
        for text, right in zip(line[1:], (self._cell - RATIO_PX, self._cell), strict=False):
            start = x + right - self._length(text, TEXT_PX - 2)
            draw.text((start, y), text, QUIET if line[0] == "" else INK, font=font)

    def _draw_badge(self, draw: ImageDraw.ImageDraw, tile: Tile, right: int, y: int) -> None:
        text = self._cut(tile.badge, TEXT_PX - 2)
        width = math.ceil(self._length(text, TEXT_PX - 2)) + 20
        draw.rectangle([right - width, y, right - 1, y + LINE_PX + 4], fill=tile.colour)
        left = right - width + 10
        draw.text((left, y + 5), text, (255, 255, 255), font=self._fonts[TEXT_PX - 2])

    def _length(self, text: str, size: int) -> float:
        return float(self._fonts[size].getlength(text))

    def _cut(self, text: str, size: int, width: int | None = None) -> str:
        """Shorten a text in its middle until it fits, by default into a cell."""
        limit = self._cell if width is None else width
        if self._length(text, size) <= limit:
            return text
        keep = len(text)
        while keep > 2 and self._length(_shortened(text, keep), size) > limit:
            keep -= 1
        return _shortened(text, keep)

    def _wrapped(self, text: str, width: int) -> list[str]:
        lines = [""]
        for word in text.split(" "):
            longer = f"{lines[-1]} {word}" if lines[-1] else word
            if self._length(longer, TEXT_PX - 2) <= width or not lines[-1]:
                lines[-1] = longer
            else:
                lines.append(word)
        return lines


def _columns(tiles: int) -> int:
    """Return how many columns leave the fewest holes, at most `MAX_COLUMNS` + 1."""
    if tiles <= MAX_COLUMNS + 1:
        return tiles
    rows = math.ceil(tiles / MAX_COLUMNS)
    return math.ceil(tiles / rows)


def _fitted(pixels: RgbImage) -> Image.Image:
    """Return an image resized so that its longer side fills the tile."""
    height, width = pixels.shape[:2]
    scale = TILE_PX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)


def _shortened(text: str, keep: int) -> str:
    head = (keep + 1) // 2
    return f"{text[:head]}…{text[len(text) - (keep - head) :]}"
