"""Rows as a flat CSV table.

Two things differ from the JSON lines. Bytes of a path that are not UTF-8 are written as the text of
their escape (a backslash and `udcff`), so that the file is UTF-8. And no cell can become a formula
in a spreadsheet: a path that begins with `=`, `+`, `-` or `@` gets `./` in front, which names the
same file; any other text that does gets an apostrophe, which spreadsheets hide.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from lineup.results import Verdict
from lineup.scan.batches import ScanEngine
from lineup.scan.encoding import RowFormatError, StoredRow
from lineup.scan.rows import STAGES, Row, record_from_row

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
    *(f"ms.{stage}" for stage in STAGES),
    "notes",
    "error",
    "error_type",
    "lineup",
    "run",
)
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
NOTE_SEPARATOR = "; "


def columns_from_engine(engine: ScanEngine) -> tuple[str, ...]:
    """Return the columns of a table of this engine's rows.

    The columns of the posterior and of the scores must be known before the first row, so the
    engine is asked for its verdict on an arbitrary fingerprint.
    """
    unit = np.zeros((1, engine.extractor.dimension), np.float32)
    unit[0, 0] = 1.0
    real_llrs = np.zeros(1, np.float32) if engine.extractor.tells_real else None
    verdict = engine.verdicts(unit, real_llrs=real_llrs, notes=[()], costs_ms=[0.0])[0]
    return (*LEADING_COLUMNS, *_columns_from_verdict(verdict), *TRAILING_COLUMNS)


def _columns_from_verdict(verdict: Verdict) -> list[str]:
    columns = [f"posterior.{key}" for key in verdict.posterior]
    for evidence in verdict.evidence:
        columns += [f"{evidence.name}.score.{source}" for source in evidence.scores]
        columns += [f"{evidence.name}.llr.{source}" for source in evidence.llr]
    return columns


class CsvEncoder:
    """Writes rows as a CSV table with the given columns."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = tuple(columns)

    def header(self) -> bytes:
        """Return the line of column names."""
        return _bytes_from_cells(self._columns)

    def beginning(self) -> bytes:
        """Return the line of column names."""
        return self.header()

    def bytes_from_row(self, row: Row) -> bytes:
        """Return one record; a value that does not exist is an empty cell.

        Raises:
            ValueError: The row has a value without a column.
        """
        cells = self.cells_from_row(row)
        unknown = cells.keys() - set(self._columns)
        if unknown:
            raise ValueError(f"values without a column: {', '.join(sorted(unknown))}")
        return _bytes_from_cells([cells.get(column) for column in self._columns])

    def cells_from_row(self, row: Row) -> Mapping[str, Any]:
        """Return the cells by column."""
        record = record_from_row(row)
        cells = {name: safe_text(record[name]) for name in LEADING_COLUMNS}
        cells["path"] = _safe_path(row.path)
        cells |= {f"posterior.{key}": value for key, value in (record["posterior"] or {}).items()}
        notes = list(row.notes)
        for name, evidence in (record["evidence"] or {}).items():
            cells |= {f"{name}.score.{source}": one for source, one in evidence["scores"].items()}
            cells |= {f"{name}.llr.{source}": one for source, one in evidence["llr"].items()}
            notes += evidence["notes"]
        cells |= {f"ms.{stage}": value for stage, value in record["ms"].items()}
        cells["notes"] = safe_text(NOTE_SEPARATOR.join(notes))
        cells["error"] = None if row.error is None else safe_text(row.error.message)
        cells["error_type"] = None if row.error is None else row.error.type
        return cells | {"lineup": row.lineup, "run": row.run}


def _safe_path(path: str) -> str:
    return f"./{path}" if path.startswith(FORMULA_STARTS) else path


def safe_text(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula."""
    # Numbers pass unchanged: a minus in front of digits is no formula.
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def _bytes_from_cells(cells: Sequence[Any]) -> bytes:
    text = io.StringIO(newline="")
    # The writer quotes a cell for the characters of its own line end, and a bare carriage return
    # is a line end to most readers.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n").encode("utf-8", "backslashreplace") + b"\n"


def stored_rows_from_csv(stream: BinaryIO, header: bytes) -> Iterator[StoredRow]:
    """Yield the complete rows of a table; a last record without line end is not one.

    Args:
        stream: The file, at its start.
        header: What the first record must be.

    Raises:
        RowFormatError: The columns are others, or a record is not a row of a scan.
    """
    columns: list[str] = []
    for number, (record, end) in enumerate(_complete_records(stream), start=1):
        if number == 1 and record != header:
            raise RowFormatError("the header")
        try:
            cells = next(csv.reader([record.decode("utf-8")], strict=True))
            if number == 1:
                columns = cells
                continue
            row = dict(zip(columns, cells, strict=True))
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
