"""One row per image: what was found, how long it took, or why nothing could be found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lineup._version import __version__
from lineup.errors import LineupError
from lineup.results import Verdict

SIGNIFICANT_DIGITS = 7
"""Of every score in a row: all that float32 holds."""

MAX_MESSAGE_LENGTH = 2000
"""Of an error in a row; some libraries quote their whole input."""


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Milliseconds per stage; None for a stage that was not reached.

    Attributes:
        read: Reading the file and hashing its bytes.
        decode: Bytes to RGB pixels.
        preprocess: Pixels to tiles.
        inference: The image's share of its batch in the model, by number of tiles.
        fuse: The image's share of comparing with the gallery and forming the posterior.
    """

    read: float | None = None
    decode: float | None = None
    preprocess: float | None = None
    inference: float | None = None
    fuse: float | None = None


STAGES = ("read", "decode", "preprocess", "inference", "fuse")
"""The fields of `StageTimes`, in the order of the work."""


@dataclass(frozen=True, slots=True)
class RowError:
    """Why an image has no verdict.

    Attributes:
        type: Name of the exception's class, e.g. "UnreadableImageError".
        message: What was wrong, in one sentence.
    """

    type: str
    message: str


@dataclass(frozen=True, slots=True)
class Row:
    """The answer about one image; exactly one of `verdict` and `error` is set.

    Attributes:
        path: The file as it was named or found. Bytes of a name that are not UTF-8 are lone
            surrogates, as everywhere in Python (`os.fsencode` restores them).
        sha256: Hex digest of the file's content; None when it could not be read.
        size_bytes: Length of the file; None when it could not be read.
        format: "jpeg", "png", ...; None when it could not be decoded.
        width_px: Width after EXIF orientation.
        height_px: Height after EXIF orientation.
        verdict: The engine's answer.
        ms: Time per stage.
        notes: What the decoder did to the image, e.g. "first of 12 frames".
        error: Why there is no verdict.
        lineup: Version of lineup that made the row.
        run: Identity of the question asked: 12 hex digits over fingerprint bundle, gallery and
            evidence. Rows of one run can be compared with each other.
    """

    path: str
    run: str
    sha256: str | None = None
    size_bytes: int | None = None
    format: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    verdict: Verdict | None = None
    ms: StageTimes = StageTimes()
    notes: tuple[str, ...] = ()
    error: RowError | None = None
    lineup: str = __version__


def row_error_from_exception(error: Exception) -> RowError:
    """Describe an exception for a row, in 1 to `MAX_MESSAGE_LENGTH` characters."""
    message = (error.message if isinstance(error, LineupError) else str(error)) or repr(error)
    return RowError(type=type(error).__name__, message=message[:MAX_MESSAGE_LENGTH])


def record_from_row(row: Row) -> dict[str, Any]:
    """Return the row as a dictionary of JSON types; every key is always present.

    Keys: path, sha256, bytes, format, width, height, verdict, confidence, posterior {key: p},
    evidence {name: {scores, llr, notes}}, ms {stage: milliseconds}, notes, error {type, message},
    lineup, run. A value that does not exist is None, and so is a number that is not finite.
    """
    verdict = row.verdict
    return {
        "path": row.path,
        "sha256": row.sha256,
        "bytes": row.size_bytes,
        "format": row.format,
        "width": row.width_px,
        "height": row.height_px,
        "verdict": None if verdict is None else verdict.label,
        "confidence": None if verdict is None else _number(verdict.confidence),
        "posterior": None if verdict is None else _numbers(verdict.posterior),
        "evidence": None if verdict is None else _evidence(verdict),
        "ms": {stage: _milliseconds(getattr(row.ms, stage)) for stage in STAGES},
        "notes": list(row.notes),
        "error": None
        if row.error is None
        else {"type": row.error.type, "message": row.error.message},
        "lineup": row.lineup,
        "run": row.run,
    }


def _evidence(verdict: Verdict) -> dict[str, Any]:
    return {
        evidence.name: {
            "scores": _numbers(evidence.scores),
            "llr": _numbers(evidence.llr),
            "notes": list(evidence.notes),
        }
        for evidence in verdict.evidence
    }


def _numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    return {key: _number(value) for key, value in values.items()}


def _number(value: float) -> float | None:
    # JSON has no NaN and no infinity; a row must stay readable for every parser.
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None


def _milliseconds(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
