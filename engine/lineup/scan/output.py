"""Where the rows go: a file that can be resumed, or a stream.

Every row is one write straight to the operating system, so a killed scan leaves complete rows and
at most one partial record at the very end, which the next scan cuts off.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import filelock

from lineup._version import __version__
from lineup.closing import ClosesOnExit
from lineup.errors import LineupError, UsageError
from lineup.results import Attribution
from lineup.scan.encoding import RowEncoder, RowFormatError, StoredRow
from lineup.scan.pipeline import Identities

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

    Raises:
        UsageError: The file exists and `mode` is CREATE, it is a folder, its folder does not exist
            or cannot be written, or another scan writes to it.
    """

    def __init__(self, path: Path, mode: OutputMode) -> None:
        self.done = Identities()
        self.failed_before = 0
        self._path = path
        self._mode = mode
        self._raw: FileIO | None = None
        self._end = 0
        target = path.resolve()  # two names of one file share the lock
        self._lock_path = target.with_name(f".{target.name}.lock")
        self._lock = filelock.FileLock(self._lock_path)
        _check_folder(path)
        self._acquire()
        if mode is OutputMode.CREATE and path.exists():
            self._release()
            raise UsageError(
                f"{path} exists already.",
                hint="Add --resume to continue that scan, --overwrite to replace it, or choose "
                "another --output.",
            )

    def begin(self, encoder: RowEncoder, run: str) -> None:
        """Read and check the rows that exist; the file is touched by the first row only.

        Raises:
            UsageError: The rows were made by another run or version, or are no rows of a scan.
            LineupError: The file cannot be read.
        """
        self._encoder = encoder
        if self._mode is not OutputMode.RESUME or not self._path.exists():
            return
        try:
            with self._path.open("rb") as stream:
                for row in encoder.stored_rows(stream):
                    _check_origin(self._path, row, run)
                    self.done.add(row.path, row.sha256)
                    self.failed_before += row.is_failed
                    self._end = row.end
                if self._end == 0:
                    _check_beginning(stream, encoder.beginning)
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
        data = self._encoder.bytes_from_row(row)
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
        """Close the file and let other scans write to it."""
        if self._raw is not None:
            self._raw.close()
        self._release()


Output = OutputFile | OutputStream


def open_output(target: str, mode: OutputMode, stdout: BinaryIO) -> Output:
    """Open the place for the rows.

    Args:
        target: "-" for `stdout`; a file; or a device or named pipe that exists.
        mode: What to do when the file exists.
        stdout: Where "-" goes.

    Raises:
        UsageError: See `OutputFile`; or a stream is to be resumed.
    """
    path = Path(target)
    is_device = target != "-" and path.exists() and not path.is_file() and not path.is_dir()
    if target != "-" and not is_device:
        return OutputFile(path, mode)
    if mode is OutputMode.RESUME:
        name = "standard output" if target == "-" else target
        raise UsageError(
            f"A scan to {name} cannot be resumed.", hint="Name a file with --output FILE."
        )
    if is_device:
        return OutputStream(path.open("wb", buffering=0), target, is_owned=True)
    return OutputStream(stdout, "standard output")


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


def _check_folder(path: Path) -> None:
    if path.is_dir():
        raise UsageError(f"{path} is a folder.", hint="Name a file for the rows.")
    if not path.parent.is_dir():
        raise UsageError(
            f"The folder {path.parent} does not exist.", hint=f"Create it: mkdir -p {path.parent}"
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
