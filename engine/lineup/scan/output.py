"""Where the rows go: a file that can be resumed, or a stream.

Every row is one write straight to the operating system, so a killed scan leaves complete rows and
at most one partial record at the very end, which the next scan cuts off. The last row of a path
counts: a resumed scan appends the rows of what it tries again, and puts them in the place of the
earlier ones when it ends, or when the next one does.
"""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import filelock

from lineup._version import __version__
from lineup.closing import ClosesOnExit
from lineup.errors import LineupError, UsageError
from lineup.files import hidden_name, write_atomic
from lineup.results import Attribution
from lineup.scan.encoding import (
    LEADING_COLUMNS,
    JsonlEncoder,
    RowEncoder,
    RowFormat,
    RowFormatError,
    StoredRow,
)
from lineup.scan.pipeline import Identities, path_key

BEGINNINGS = (JsonlEncoder.beginning, f"{LEADING_COLUMNS[0]},".encode())
"""How rows begin, in either format and of any version."""

START_ANEW = "Choose another --output, or replace the file with --overwrite."


class OutputMode(str, Enum):
    """What to do with an output file that exists."""

    CREATE = "create"
    RESUME = "resume"
    OVERWRITE = "overwrite"


class OutputStream(ClosesOnExit):
    """Rows on a pipe, a terminal or a device; cannot be resumed.

    Args:
        stream: Where the bytes go.
        name: What messages call it.
        is_owned: Whether to close it at the end.
    """

    def __init__(self, stream: BinaryIO, name: str, *, is_owned: bool = False) -> None:
        self.done = Identities()
        self.failed_before = 0
        self._stream = stream
        self._is_owned = is_owned
        self._name = name

    def begin(self, encoder: RowEncoder, run: str) -> None:
        """Write the header."""
        self._encoder = encoder
        self._write(encoder.header)

    def write(self, row: Attribution) -> None:
        """Write one row.

        Raises:
            BrokenPipeError: Nobody reads the stream any more.
            LineupError: It cannot be written, e.g. because a disk is full.
        """
        self._write(self._encoder.bytes_from_row(row))

    def write_line(self, path: str, line: bytes) -> None:
        """Write one row that is encoded already; see `write`."""
        self._write(line)

    def _write(self, data: bytes) -> None:
        try:
            with interrupts_held():
                self._stream.write(data)
                self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise LineupError(f"Cannot write rows to {self._name}: {error.strerror}.") from error

    def close(self) -> None:
        """Close the stream, if it is owned."""
        if self._is_owned:
            self._stream.close()


class OutputFile(ClosesOnExit):
    """Rows in a file that belongs to one scan at a time.

    The lock is a hidden file beside it, held by the operating system: it ends with the process,
    however that ends, and the file is removed after an orderly end.

    Args:
        path: The file; its folder must exist.
        mode: What to do when it exists.
        retries_failed: Whether images whose row holds an error are none of `done`.

    Raises:
        UsageError: The file exists and `mode` is CREATE, or it is to be replaced and holds anything
            but rows; it is a folder, its folder does not exist or cannot be written, or another
            scan writes to it.
    """

    def __init__(self, path: Path, mode: OutputMode, *, retries_failed: bool = True) -> None:
        self.done = Identities()
        self._failed: set[bytes] = set()
        self._has_doubles = False
        self._retries_failed = retries_failed
        self._path = path
        self._mode = mode
        self._raw: FileIO | None = None
        self._end = 0
        target = path.resolve()  # two names of one file share the lock
        self._lock_path = target.with_name(f"{hidden_name(target.name)}.lock")
        self._lock = filelock.FileLock(self._lock_path)
        check_folder(path)
        self._acquire()
        try:
            self._check_replaceable()
        except BaseException:
            self._release()
            raise

    @property
    def failed_before(self) -> int:
        """Rows with an error that the file held, and that nothing written since replaces."""
        return len(self._failed)

    def begin(self, encoder: RowEncoder, run: str) -> None:
        """Read and check the rows that exist; the file is touched by the first row only.

        Raises:
            UsageError: The rows were made by another run or version, or are no rows of a scan.
            LineupError: The file cannot be read.
        """
        self._encoder = encoder
        if self._mode is not OutputMode.RESUME or not self._path.exists():
            return
        has_doubles = False
        try:
            with self._path.open("rb") as stream:
                for row in encoder.stored_rows(stream):
                    _check_origin(self._path, row, run)
                    has_doubles |= self._replaces(row.path)
                    if row.is_failed:
                        self._failed.add(path_key(row.path))
                    if row.is_failed and self._retries_failed:
                        self.done.forget(row.path)
                    else:
                        self.done.add(row.path, row.sha256)
                    self._end = row.end
                if self._end == 0:
                    _check_beginning(stream, encoder.beginning)
            self._has_doubles = has_doubles
        except RowFormatError as error:
            raise UsageError(
                f"{self._path} cannot be resumed: {error} is not what this scan writes.",
                hint=f"Was it made with another --format or gallery? {START_ANEW}",
            ) from error
        except OSError as error:
            raise LineupError(f"Cannot read {self._path}: {error.strerror}.") from error

    def write(self, row: Attribution) -> None:
        """Write one row, whole or not at all.

        Raises:
            LineupError: The disk is full, or the file cannot be written for another reason.
        """
        self.write_line(row.path or "", self._encoder.bytes_from_row(row))

    def write_line(self, path: str, line: bytes) -> None:
        """Write one row, of an image at `path`, that is encoded already; see `write`."""
        data = line
        if self._raw is None:
            self._raw = self._opened()
            if self._end == 0:
                data = self._encoder.header + data
        with interrupts_held():
            remaining = memoryview(data)
            try:
                while remaining:
                    remaining = remaining[self._raw.write(remaining) :]
            except OSError as error:
                with suppress(OSError):  # the next scan would cut the partial row off as well
                    self._raw.truncate(self._end)
                raise self._write_error(error) from error
            self._end += len(data)
        self._has_doubles |= self._replaces(path)

    def _replaces(self, path: str) -> bool:
        """Tell whether the file held a row of this path, which another one now replaces."""
        key = path_key(path)
        is_double = key in self._failed or self.done.holds(path, None)
        self._failed.discard(key)
        return is_double

    def _keep_last_rows(self) -> None:
        """Leave the last row of each path, where its first was, in one step.

        Raises:
            OSError: The disk is full, say; the file is as it was.
        """
        spans: dict[bytes, tuple[int, int]] = {}  # a key keeps the place that it had first
        start = len(self._encoder.header)
        with self._path.open("rb") as stream:
            for row in self._encoder.stored_rows(stream):
                spans[path_key(row.path)] = (start, row.end)
                start = row.end
        write_atomic(self._path, self._parts([(0, len(self._encoder.header)), *spans.values()]))

    def _parts(self, spans: Iterable[tuple[int, int]]) -> Iterator[bytes]:
        with self._path.open("rb") as stream:
            for start, end in spans:
                stream.seek(start)
                yield stream.read(end - start)

    def _check_replaceable(self) -> None:
        """Refuse to write over what is there, unless it is asked for and holds rows."""
        if self._mode is OutputMode.CREATE and self._path.exists():
            raise exists_already(self._path)
        if self._mode is OutputMode.OVERWRITE and self._path.exists():
            with self._path.open("rb") as stream:
                found = stream.read(len(JsonlEncoder.beginning))
            if not any(found[: len(one)] == one[: len(found)] for one in BEGINNINGS):
                raise no_rows(self._path)

    def _opened(self) -> FileIO:
        """Open the file behind its last complete row, and cut off what follows."""
        try:
            raw = FileIO(self._path, "r+" if self._path.exists() else "w")
            raw.truncate(self._end)
            raw.seek(self._end)
        except OSError as error:
            raise self._write_error(error) from error
        return raw

    def _write_error(self, error: OSError) -> LineupError:
        return LineupError(
            f"Cannot write rows to {self._path}: {error.strerror}.",
            hint="The rows so far are complete. Once that is solved, run again with --resume.",
        )

    def _acquire(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise UsageError(
                f"Another scan is writing to {self._path}.",
                hint="Wait for it to end, or choose another --output.",
            ) from None
        except OSError as error:
            raise UsageError(
                f"Cannot write into the folder of {self._path}: {error.strerror}.",
                hint="Choose an --output in a folder that you may write to.",
            ) from error

    def _release(self) -> None:
        # Removed while still held: who waits for the lock by name must not get an orphan.
        with suppress(OSError):  # Windows does not remove open files
            self._lock_path.unlink()
        self._lock.release()

    def close(self) -> None:
        """Close the file, with one row per path, and let other scans write to it."""
        if self._raw is not None:
            self._raw.close()
        if self._has_doubles:
            with suppress(OSError):  # the next scan does it
                self._keep_last_rows()
        try:
            self._finish()
        finally:
            self._release()

    def _finish(self) -> None:
        """Do what is left when the file is as it stays."""


Output = OutputFile | OutputStream


def open_output(
    target: str,
    mode: OutputMode,
    stdout: BinaryIO,
    *,
    row_format: RowFormat = RowFormat.JSONL,
    retries_failed: bool = True,
) -> Output:
    """Open the place for the rows.

    Args:
        target: "-" for `stdout`; a file; or a device or named pipe that exists.
        mode: What to do when the file exists.
        stdout: Where "-" goes.
        row_format: How rows are written; Parquet is no stream.
        retries_failed: See `OutputFile`.

    Raises:
        UsageError: See `OutputFile`; or a stream is to be resumed.
    """
    path, is_stdout = Path(target), target == "-"
    if is_stdout or (path.exists() and not path.is_file() and not path.is_dir()):
        name = "standard output" if is_stdout else target
        if row_format is RowFormat.PARQUET:
            raise UsageError("Parquet is written to a file.", hint="Name it with --output FILE.")
        if mode is OutputMode.RESUME:
            raise UsageError(
                f"A scan to {name} cannot be resumed.", hint="Name a file with --output FILE."
            )
        stream = stdout if is_stdout else path.open("wb", buffering=0)
        return OutputStream(stream, name, is_owned=not is_stdout)
    if row_format is RowFormat.PARQUET:
        from lineup.scan.parquet import ParquetFile  # noqa: PLC0415 - it builds on this module

        return ParquetFile(path, mode, retries_failed=retries_failed)
    return OutputFile(path, mode, retries_failed=retries_failed)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold SIGINT back inside the block and deliver it afterwards.

    Only the main thread can do this, and only it is interrupted; elsewhere nothing happens.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if previous is None else previous)
        if held:
            signal.raise_signal(signal.SIGINT)


def check_folder(path: Path) -> None:
    """Refuse a file that is a folder, or whose folder does not exist."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder.", hint="Name a file for the rows.")
    if not path.parent.is_dir():
        raise UsageError(
            f"There is no folder {path.parent}.",
            hint="Name a file in a folder that exists, or create it: mkdir -p "
            f"{shlex.quote(str(path.parent))}",
        )


def exists_already(path: Path) -> UsageError:
    """Return the error for an output that is there."""
    return UsageError(
        f"{path} exists already.",
        hint="Add --resume to continue that scan, --overwrite to replace it, or choose another "
        "--output.",
    )


def no_rows(path: Path) -> UsageError:
    """Return the error for an output that is to be replaced and is no output of a scan."""
    return UsageError(
        f"{path} does not hold the rows of a scan, and is not replaced.",
        hint="It may be an image, or a list: choose another --output.",
    )


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
