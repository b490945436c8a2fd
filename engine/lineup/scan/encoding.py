"""Rows as JSON lines or as a flat CSV table, and back to what a resumed scan needs of them.

JSON lines escape everything outside ASCII. So a line never contains a separator that some readers
take for a line end, and a path that is not UTF-8 stays exact: its odd bytes are escaped as lone
surrogates (U+DC80 to U+DCFF), which Python reads back as the same path; strict readers report them.

Two things differ in the table. Bytes of a path that are not UTF-8 are written as the text of their
escape (a backslash and `udcff`), so that the file is UTF-8. And no cell can become a formula in a
spreadsheet: a path that begins with `=`, `+`, `-` or `@` gets `./` in front, which names the same
file; any other text that does gets an apostrophe, which spreadsheets hide.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, BinaryIO

from lineup.results import STAGES, Attribution

LEADING_COLUMNS = (
    "path",
    "sha256",
    "bytes",
    "format",
    "width",
    "height",
    "verdict",
    "confidence",
)
TRAILING_COLUMNS = (
    "family",
    "candidates_set",
    "caption",
    "verdict_notes",
    "origin",
    "disagreement",
    *(f"ms.{stage}" for stage in STAGES),
    "notes",
    "error",
    "error_type",
    "lineup",
    "run",
)
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
NOTE_SEPARATOR = "; "


class RowFormat(str, Enum):
    """How rows are written."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    """Encoded as JSON lines until the scan is over (`lineup.scan.parquet`)."""


class RowFormatError(Exception):
    """A record is not a row of a scan; the message says which record."""


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


class JsonlEncoder:
    """Writes rows as JSON lines.

    Attributes:
        header: What is written before the first row; may be empty.
        beginning: What every file of this format begins with; never empty.
    """

    header = b""
    beginning = b'{"path": "'

    def bytes_from_row(self, row: Attribution) -> bytes:
        """Return one complete record, line end included."""
        return line_from_record(row.to_dict())

    def stored_rows(self, stream: BinaryIO) -> Iterator[StoredRow]:
        """Yield the complete rows of a file, from its start; a record cut short is not one.

        Raises:
            RowFormatError: A record is not a row of this encoder.
        """
        end = 0
        for number, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                return
            end += len(line)
            try:
                record = json.loads(line)
                yield StoredRow(
                    path=record["path"],
                    sha256=record["sha256"],
                    is_failed=record["error"] is not None,
                    lineup=record["lineup"],
                    run=record["run"],
                    end=end,
                )
            except (ValueError, KeyError, TypeError) as error:
                raise RowFormatError(f"line {number}") from error


class CsvEncoder:
    """Writes rows as a CSV table; see `JsonlEncoder`.

    Args:
        columns: What the engine's verdicts have (`Engine.columns`); they must be known before the
            first row.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = (*LEADING_COLUMNS, *columns, *TRAILING_COLUMNS)
        self.header = self.beginning = _bytes_from_cells(self.columns)

    def bytes_from_row(self, row: Attribution) -> bytes:
        """Return one record; a value that does not exist is an empty cell.

        Raises:
            ValueError: The row has a value without a column.
        """
        cells = cells_from_row(row)
        unknown = cells.keys() - set(self.columns)
        if unknown:
            raise ValueError(f"values without a column: {', '.join(sorted(unknown))}")
        return _bytes_from_cells([cells.get(column) for column in self.columns])

    def stored_rows(self, stream: BinaryIO) -> Iterator[StoredRow]:
        """Yield the complete rows; see `JsonlEncoder`."""
        for number, (record, end) in enumerate(_complete_records(stream), start=1):
            if number == 1:
                if record != self.header:
                    raise RowFormatError("the header")
                continue
            try:
                cells = next(csv.reader([record.decode("utf-8")], strict=True))
                row = dict(zip(self.columns, cells, strict=True))
            except (ValueError, csv.Error) as error:
                raise RowFormatError(f"record {number}") from error
            yield StoredRow(
                path=row["path"],
                sha256=row["sha256"] or None,
                is_failed=row["error_type"] != "",
                lineup=row["lineup"],
                run=row["run"],
                end=end,
            )


RowEncoder = JsonlEncoder | CsvEncoder


def encoder_from_format(row_format: RowFormat, columns: Sequence[str]) -> RowEncoder:
    """Return the encoder of rows with these columns; see `CsvEncoder`."""
    return CsvEncoder(columns) if row_format is RowFormat.CSV else JsonlEncoder()


def line_from_record(record: Mapping[str, Any]) -> bytes:
    """Return a row (`Attribution.to_dict`) as a JSON line, line end included."""
    return json.dumps(record, allow_nan=False).encode("ascii") + b"\n"


def cells_from_row(row: Attribution) -> Mapping[str, Any]:
    """Return the cells of a table by column; lists are joined."""
    record = row.to_dict()
    cells = {name: _safe_text(record[name]) for name in LEADING_COLUMNS}
    path = row.path or ""
    cells["path"] = f"./{path}" if path.startswith(FORMULA_STARTS) else path
    cells |= {f"posterior.{key}": value for key, value in (record["posterior"] or {}).items()}
    notes = list(row.notes)
    for name, evidence in (record["evidence"] or {}).items():
        cells |= {f"{name}.score.{source}": one for source, one in evidence["scores"].items()}
        cells |= {f"{name}.llr.{source}": one for source, one in evidence["llr"].items()}
        notes += evidence["notes"]
    for name in ("family", "candidates_set", "verdict_notes"):
        cells[name] = _safe_text(NOTE_SEPARATOR.join(record[name] or ()))
    claims = NOTE_SEPARATOR.join(one.text for one in row.origin.claims) if row.origin else None
    cells["origin"] = _safe_text(claims)
    cells["disagreement"] = _safe_text(row.disagreement)
    cells["caption"] = _safe_text(record["caption"])
    cells |= {f"ms.{stage}": value for stage, value in record["ms"].items()}
    cells["notes"] = _safe_text(NOTE_SEPARATOR.join(notes))
    cells["error"] = None if row.error is None else _safe_text(row.error.message)
    cells["error_type"] = None if row.error is None else row.error.type
    return cells | {"lineup": row.lineup, "run": row.run}


def _safe_text(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula."""
    # Numbers pass unchanged: a minus in front of digits is no formula.
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def _bytes_from_cells(cells: Sequence[Any]) -> bytes:
    text = io.StringIO(newline="")
    # The writer quotes a cell for the characters of its own line end, and a bare carriage return
    # is a line end to most readers.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n").encode("utf-8", "backslashreplace") + b"\n"


def _complete_records(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield records and the offsets behind them.

    A line end inside quotes belongs to its cell; quotes inside a cell are doubled, so a line end
    is inside quotes exactly when the number of quotes before it is odd.
    """
    lines: list[bytes] = []
    end = 0
    inside_quotes = False
    for line in stream:
        lines.append(line)
        end += len(line)
        inside_quotes ^= line.count(b'"') % 2 == 1
        if line.endswith(b"\n") and not inside_quotes:
            yield b"".join(lines), end
            lines.clear()
