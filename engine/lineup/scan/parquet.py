"""Rows as a Parquet file, which appears when the scan is over.

Parquet can be read once its last byte is written and not before, so a stopped scan would leave
nothing. Until the end rows are JSON lines in `FILE.jsonl` beside it, resumed like any such file; at
the end they become FILE in one step. Whatever stops a scan, FILE is whole or not there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from lineup.errors import LineupError, UsageError, require_extra
from lineup.files import temporary_directory_beside, write_atomic
from lineup.scan.arrow import records_from_table, row_schema, table_from_records
from lineup.scan.encoding import RowEncoder, line_from_record
from lineup.scan.output import OutputFile, OutputMode, check_folder, exists_already, no_rows

ROWS_SUFFIX = ".jsonl"
GROUP_ROWS = 2000
"""Rows of a row group: about 60 MB while they are Python's."""


class ParquetFile(OutputFile):
    """Rows that become a Parquet file when the `with` block ends without an error.

    Args:
        path: The Parquet file.
        mode: See `OutputFile`.
        retries_failed: See `OutputFile`.

    Raises:
        UsageError: See `OutputFile`.
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, path: Path, mode: OutputMode, *, retries_failed: bool = True) -> None:
        require_extra("parquet", ["pyarrow"])
        self._target = path
        self._is_over = False
        check_folder(path)
        super().__init__(
            path.with_name(path.name + ROWS_SUFFIX), mode, retries_failed=retries_failed
        )

    def begin(self, encoder: RowEncoder, run: str) -> None:
        """Read and check the rows that exist, of the stopped scan or of the file itself.

        Raises:
            UsageError: See `OutputFile.begin`.
            LineupError: See there.
        """
        is_stopped = self._path.exists()
        if self._mode is OutputMode.RESUME and not is_stopped and self._target.exists():
            write_atomic(self._path, _lines_from_parquet(self._target))
        try:
            super().begin(encoder, run)
        except BaseException:
            if not is_stopped:
                self._path.unlink(missing_ok=True)
            raise

    def __exit__(self, *raised: object) -> None:
        self._is_over = raised[0] is None
        self.close()

    def _finish(self) -> None:
        has_rows = self._raw is not None or self._mode is OutputMode.RESUME
        if not (self._is_over and has_rows and self._path.exists()):
            return
        try:
            _write_parquet(self._target, self._path)
            self._path.unlink()
        except OSError as error:
            raise LineupError(
                f"Cannot write {self._target}: {error.strerror or error}.",
                hint=f"Its rows are complete in {self._path}. Once that is solved, run again with "
                "--resume.",
            ) from error

    def _check_replaceable(self) -> None:
        if self._mode is OutputMode.CREATE and self._target.exists():
            raise exists_already(self._target)
        if self._mode is OutputMode.OVERWRITE and self._target.exists():
            try:
                _check_schema(self._target)
            except UsageError as error:
                raise no_rows(self._target) from error
        super()._check_replaceable()


def _write_parquet(target: Path, rows: Path) -> None:
    """Write JSON lines as a Parquet file, in one step."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - an extra

    target = target.resolve()
    with temporary_directory_beside(target) as folder:
        file = folder / "rows"
        with (
            rows.open("rb") as lines,
            pq.ParquetWriter(file, row_schema(), compression="zstd") as writer,
        ):
            records = map(json.loads, lines)
            while group := list(islice(records, GROUP_ROWS)):
                writer.write_table(table_from_records(group))
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
        file.replace(target)


def _lines_from_parquet(path: Path) -> Iterator[bytes]:
    """Yield the rows of a Parquet file as JSON lines.

    Raises:
        UsageError: It holds no rows of a scan.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415

    _check_schema(path)
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(GROUP_ROWS):
            yield from map(line_from_record, records_from_table(batch))


def _check_schema(path: Path) -> None:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        found = pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{path} cannot be resumed: it is no Parquet file.") from error
    if not found.equals(row_schema()):
        raise UsageError(
            f"{path} cannot be resumed: its columns are not those of a scan by this version.",
            hint="Choose another --output.",
        )
