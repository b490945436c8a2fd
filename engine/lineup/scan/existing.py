"""The rows that an output file holds already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lineup._version import __version__
from lineup.errors import UsageError
from lineup.scan.encoding import RowEncoder, RowFormatError, StoredRow
from lineup.scan.identity import Identities

START_ANEW = "Choose another --output, or replace the file with --overwrite."


@dataclass(frozen=True, slots=True)
class ExistingRows:
    """What a resumed scan needs to know.

    Attributes:
        identities: Images that have their row.
        failed: Rows with an error.
        end: Offset behind the last complete row, in bytes; 0 without a row.
    """

    identities: Identities
    failed: int
    end: int


def existing_rows_from_file(path: Path, encoder: RowEncoder, run: str) -> ExistingRows:
    """Read the rows of an earlier scan.

    Args:
        path: The file.
        encoder: Of the scan that wants to continue.
        run: Identity of the scan that wants to continue.

    Raises:
        UsageError: The file holds something else, or rows of another run or version.
        OSError: The file cannot be read.
    """
    identities = Identities()
    failed = end = 0
    with path.open("rb") as stream:
        try:
            for row in encoder.stored_rows(stream):
                _check_origin(path, row, run)
                identities.add(row.path, row.sha256)
                failed += row.is_failed
                end = row.end
            if end == 0:
                _check_beginning(stream, encoder.beginning)
        except RowFormatError as error:
            raise UsageError(
                f"{path} cannot be resumed: {error} is not what this scan writes.",
                hint=f"Was it made with another --format or gallery? {START_ANEW}",
            ) from error
    return ExistingRows(identities, failed, end)


def _check_beginning(stream: BinaryIO, expected: bytes) -> None:
    """Refuse to take a foreign file without a complete record for a partial one."""
    stream.seek(0)
    found = stream.read(len(expected))
    if not expected.startswith(found):
        raise RowFormatError("its beginning")


def _check_origin(path: Path, row: StoredRow, run: str) -> None:
    if row.lineup != __version__:
        raise UsageError(
            f"{path} holds rows of lineup {row.lineup}; this is lineup {__version__}.",
            hint=START_ANEW,
        )
    if row.run != run:
        raise UsageError(
            f"{path} holds rows of run {row.run}; this is run {run}: the fingerprint bundle, the "
            "gallery or the evidence differs.",
            hint=f"Rows of different runs cannot be compared. {START_ANEW}",
        )
