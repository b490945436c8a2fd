"""What the two row formats have in common."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from lineup.scan.rows import Row


class RowFormat(str, Enum):
    """How rows are written."""

    JSONL = "jsonl"
    CSV = "csv"


class RowEncoder(Protocol):
    """Turns rows into bytes."""

    def header(self) -> bytes:
        """Return what is written before the first row; may be empty."""
        ...

    def beginning(self) -> bytes:
        """Return what every file of this format begins with; never empty."""
        ...

    def bytes_from_row(self, row: Row) -> bytes:
        """Return one complete record, line end included."""
        ...


@dataclass(frozen=True, slots=True)
class StoredRow:
    """What a resumed scan needs of a row that was written before.

    Attributes:
        path: As written.
        sha256: Of the content; None when the file could not be read.
        is_failed: Whether the row holds an error.
        lineup: Version that made the row.
        run: Identity of the run that made it.
        end: Offset in the file behind the row, in bytes.
    """

    path: str
    sha256: str | None
    is_failed: bool
    lineup: str
    run: str
    end: int


class RowFormatError(Exception):
    """A record is not a row of a scan; the message says which record."""
