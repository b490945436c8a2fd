"""Rows as JSON lines.

Everything outside ASCII is escaped. So a line never contains a separator that some readers take
for a line end, and a path that is not UTF-8 stays exact: its odd bytes are escaped
as lone surrogates (U+DC80 to U+DCFF), which Python reads back as the same path; strict readers
report them instead of guessing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO

from lineup.scan.encoding import RowFormatError, StoredRow
from lineup.scan.rows import Row, record_from_row


class JsonlEncoder:
    """Writes rows as JSON lines."""

    def header(self) -> bytes:
        """Return nothing: every line names its keys."""
        return b""

    def beginning(self) -> bytes:
        """Return the first key of a row."""
        return b'{"path": "'

    def bytes_from_row(self, row: Row) -> bytes:
        """Return one line."""
        return json.dumps(record_from_row(row), allow_nan=False).encode("ascii") + b"\n"


def stored_rows_from_jsonl(stream: BinaryIO) -> Iterator[StoredRow]:
    """Yield the complete rows of a file of JSON lines; a last line without line end is not one.

    Raises:
        RowFormatError: A line is not a row of a scan.
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
