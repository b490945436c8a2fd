"""Entries: what `static/rows.js` draws of a row, in the report and on the server's page alike.

Every text in one comes from a stranger, or may: `shown` makes lines of them here, and the script
only ever sets text, never markup.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import cv2

from lineup.channels import CLEAN, text_from_channel
from lineup.report.rows import Row, row_from_attribution
from lineup.results import Attribution, Resyntheses
from lineup.text import shown
from lineup.wording import caveat_from_verdict, remarks

if TYPE_CHECKING:
    from lineup.types import RgbImage

THUMBNAIL_PX = 96
"""On the longer side; twice as much where pictures are compared."""

FAILED = "failed"
"""Stands where a label would, of an image without a verdict."""


def entry_from_row(row: Row, picture: str | None = None) -> dict[str, Any]:
    """Return the entry of a row, as JSON values.

    Args:
        row: The row.
        picture: Address of its picture.
    """
    size = f"{row.width} × {row.height} {row.format or ''}".strip() if row.width else ""
    entry: dict[str, Any] = {
        "path": shown(row.path or "image"),
        "size": size,
        "sha256": row.sha256,
        "picture": picture,
        "ms": round(row.total_ms, 1),
        "label": FAILED if row.answer is None else row.answer.label,
        **_origin(row),
    }
    if row.answer is None:
        error = row.error
        entry["error"] = "" if error is None else shown(f"{error.type}: {error.message}")
        return entry
    return entry | _answer(row)


def entry_from_attribution(answer: Attribution) -> dict[str, Any]:
    """Return the entry of an answer that was just given, with its resyntheses, as JSON values."""
    entry = entry_from_row(row_from_attribution(answer))
    if answer.resyntheses is not None:
        entry["resyntheses"] = _resyntheses(answer.resyntheses)
    return entry


def data_uri(pixels: RgbImage, size_px: int = THUMBNAIL_PX) -> str:
    """Return a JPEG of an image, shape (H, W, 3), as an address that holds it."""
    data = base64.b64encode(thumbnail_jpeg(pixels, size_px)).decode("ascii")
    return f"data:image/jpeg;base64,{data}"


def thumbnail_jpeg(pixels: RgbImage, size_px: int) -> bytes:
    """Return a JPEG of at most `size_px` on either side."""
    scale = min(1.0, size_px / max(pixels.shape[:2]))
    size = tuple(max(1, round(length * scale)) for length in pixels.shape[1::-1])
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return bytes(encoded.tobytes())


def _answer(row: Row) -> dict[str, Any]:
    verdict = row.answer
    assert verdict is not None
    ranked = sorted(verdict.posterior.items(), key=lambda item: -item[1])
    return {
        "sentence": row.sentence,
        "caveat": caveat_from_verdict(verdict),
        "share": _number(verdict.title_probability),
        "named": list(verdict.named),
        "posterior": [[shown(name), _number(share)] for name, share in ranked],
        "channel": None if verdict.channel is None else _channel_text(verdict.channel),
        "evidence": [
            {
                "name": shown(one.name),
                "scores": _numbers(one.scores),
                "llr": _numbers(one.llr),
                "nearest": [shown(name) for name in one.nearest],
                "in_words": None if one.in_words is None else shown(one.in_words),
            }
            for one in verdict.evidence
        ],
        "set": [shown(name) for name in verdict.candidates_set],
        "caption": None if verdict.caption is None else shown(verdict.caption),
        "remarks": [shown(note) for note in remarks(row.notes, verdict)],
    }


def _origin(row: Row) -> dict[str, Any]:
    origin = row.origin
    if origin is None:
        return {"declared": None, "disagreement": None, "claims": []}
    claims = [f"{claim.reader}: {claim.text}" for claim in origin.claims]
    return {
        "declared": None if origin.statement is None else shown(origin.statement),
        "disagreement": None if origin.disagreement is None else shown(origin.disagreement),
        "claims": [shown(text) for text in (*claims, *origin.notes)],
    }


def _resyntheses(made: Resyntheses) -> list[dict[str, Any]]:
    """Return the closest resynthesis of each candidate."""
    return [
        {
            "candidate": name,
            "count": len(images),
            "picture": data_uri(made.best_image(name), 2 * THUMBNAIL_PX),
        }
        for name, images in made.images.items()
    ]


def _channel_text(channel: str) -> str:
    return "as it was generated" if channel == CLEAN else text_from_channel(channel)


def _numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    return {shown(name): _number(value) for name, value in values.items()}


def _number(value: float | None) -> float | None:
    """Return what JSON has a number for, with the digits that are shown."""
    return None if value is None or not math.isfinite(value) else round(value, 4)
