"""Rows as they were written, checked, and back to the verdicts that they tell of."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from lineup.claims import Claim
from lineup.errors import LineupError, UsageError
from lineup.results import Attribution, Evidence, RowError, Verdict
from lineup.wording import sentence_from_verdict

HINT = "A report is made from the JSONL output of `lineup scan --output FILE`."


@dataclass(frozen=True, slots=True)
class RowEvidence:
    """One evidence, as a row has it."""

    scores: Mapping[str, float | None]
    llr: Mapping[str, float | None]
    cost_ms: float | None = None
    channel: str | None = None
    nearest: tuple[str, ...] = ()
    in_words: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RowOrigin:
    """What the file declares, as a row has it."""

    statement: str | None = None
    claims: tuple[Claim, ...] = ()
    notes: tuple[str, ...] = ()
    disagreement: str | None = None


@dataclass(frozen=True)
class Row:
    """A row (`data/row.schema.json`), as far as people are told of it; other keys do not matter."""

    path: str | None
    sha256: str | None
    verdict: str | None
    posterior: Mapping[str, float] | None
    evidence: Mapping[str, RowEvidence] | None
    error: RowError | None
    ms: Mapping[str, float | None]
    format: str | None = None
    bytes: int | None = None
    width: int | None = None
    height: int | None = None
    family: tuple[str, ...] | None = ()
    candidates_set: tuple[str, ...] | None = ()
    caption: str | None = None
    verdict_notes: tuple[str, ...] | None = ()
    origin: RowOrigin | None = None
    notes: tuple[str, ...] = ()
    lineup: str = ""
    run: str = ""

    @cached_property
    def answer(self) -> Verdict | None:
        """The verdict; None of an image that could not be read."""
        if self.error is not None or self.verdict is None:
            return None
        return Verdict(
            self.verdict,
            self.posterior or {},
            tuple(_evidence(name, one) for name, one in (self.evidence or {}).items()),
            family=self.family or (),
            candidates_set=self.candidates_set or (),
            caption=self.caption,
            notes=self.verdict_notes or (),
        )

    @cached_property
    def sentence(self) -> str | None:
        """The verdict as people say it; None where there is none."""
        return None if self.answer is None else sentence_from_verdict(self.answer)

    @property
    def total_ms(self) -> float:
        """The sum of the stages that were reached."""
        return sum(value or 0.0 for value in self.ms.values())


def row_from_attribution(answer: Attribution) -> Row:
    """Return the row that an answer is written as."""
    return msgspec.convert(answer.to_dict(), Row)


def row_from_record(record: Any) -> Row:
    """Check a row that was parsed.

    Raises:
        UsageError: It is none; names the first field that is wrong.
    """
    try:
        row = msgspec.convert(record, Row)
        if row.sentence is None and row.error is None:
            raise UsageError("it has neither verdict nor error")
    except KeyError as error:
        raise UsageError(f"not a row of a scan: no posterior of {error}", hint=HINT) from error
    except (msgspec.ValidationError, LineupError) as error:
        raise UsageError(f"not a row of a scan: {error}", hint=HINT) from error
    return row


def rows_from_jsonl(path: Path) -> Iterator[Row]:
    """Read the rows of a scan as they stand in its file.

    Half a row at the end is left out: the scan was stopped, or still writes.

    Raises:
        UsageError: The file cannot be read, or a line is not a row; names the line.
    """
    try:
        with path.open(encoding="utf-8", newline="\n") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip() and (line.endswith("\n") or not _is_cut(line)):
                    yield _row_from_line(path, number, line)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as the rows of a scan: {error}") from error


def _row_from_line(path: Path, number: int, line: str) -> Row:
    where = f"{path}, line {number}"
    try:
        return row_from_record(json.loads(line))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not JSON: {error}", hint=HINT) from error
    except UsageError as error:
        raise UsageError(f"{where}: {error}", hint=HINT) from error


def _is_cut(line: str) -> bool:
    if not line.startswith("{"):
        return False
    try:
        json.loads(line)
    except ValueError:
        return True
    return False


def _evidence(name: str, one: RowEvidence) -> Evidence:
    return Evidence(
        name,
        _numbers(one.scores),
        _numbers(one.llr),
        one.cost_ms or 0.0,
        one.notes,
        channel=one.channel,
        nearest=one.nearest,
        in_words=one.in_words,
    )


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    """Return numbers; what a row has no number of is NaN."""
    return {name: math.nan if value is None else value for name, value in values.items()}
