"""File operations that leave nothing half-written."""

from __future__ import annotations

import glob
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

CHUNK_BYTES = 1 << 20

LONG_NAME_BYTES = 200
"""Longer names leave no room for what a temporary one adds: file systems end at 255."""

STAGING_MARK = ".lineup-"
"""Stands between a target's name and random letters in the name of a folder beside it."""

STAGING_LOCK_NAME = "lock"
STAGED_NAME = "new"

ASIDE_NAME = "old"
"""What a replaced folder is called while the new one takes its place."""


def sha256_from_bytes(data: bytes) -> str:
    """Return the hex SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_from_file(path: Path) -> str:
    """Return the hex SHA-256 of a file, read in chunks.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def state_from_file(path: Path) -> tuple[int, int, int] | None:
    """Return what changes whenever a file does; None where it cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def is_same_file(one: Path, other: Path) -> bool:
    """Tell whether two paths name one file, through links too; of no file, whether they are one."""
    with suppress(OSError, ValueError):
        return one.samefile(other)
    return os.path.abspath(one) == os.path.abspath(other)  # noqa: PTH100 - takes a zero byte


def hidden_name(name: str) -> str:
    """Return how the name of a hidden file or folder beside `name` begins; it may be continued."""
    encoded = os.fsencode(name)
    if len(encoded) > LONG_NAME_BYTES:
        name = f"{name[:40]}-{sha256_from_bytes(encoded)[:16]}"
    return f".{name}"


def write_atomic(path: Path, data: bytes | Iterable[bytes], *, sync: bool = True) -> None:
    """Write `data` to `path` so that a reader sees either the old content or the new, never a part.

    The temporary file lies in the same folder, is renamed over the file, which a link is followed
    to, and has its mode; a new file has the mode that the process gives. A device or named pipe is
    written to as it is.

    Args:
        path: The file; its folder is made if need be.
        data: Its content, or parts of it.
        sync: Whether it is on the disk, and no half of it after a power cut, when this returns.

    Raises:
        OSError: It cannot be written; names `path`.
    """
    chunks = [data] if isinstance(data, bytes) else data
    try:
        try:
            mode: int | None = path.stat().st_mode
        except FileNotFoundError:
            mode = None
        if mode is None or stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            _replace(path.resolve(), chunks, mode, sync=sync)
        else:
            with path.open("wb") as stream:
                stream.writelines(chunks)
    except OSError as error:
        # What failed inside may be no file, or a temporary one.
        if error.errno is not None:
            error.filename, error.filename2 = os.fspath(path), None
        raise


def _replace(path: Path, chunks: Iterable[bytes], mode: int | None, *, sync: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{hidden_name(path.name)}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as stream:
            if mode is not None:
                temporary.chmod(stat.S_IMODE(mode))
            stream.writelines(chunks)
            stream.flush()
            if sync:
                os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file that nobody changes in place a second name, or copy it where that cannot be."""
    try:
        os.link(source, target)
    except OSError:
        # Another file system, one without hard links, or too many links: correct, only larger.
        shutil.copyfile(source, target)


@contextmanager
def temporary_directory_beside(target: Path) -> Iterator[Path]:
    """Yield an empty hidden folder beside `target` that vanishes with the block.

    It is on the file system of `target`, so that a rename from it is atomic. Whoever uses such a
    folder holds a lock that ends with the process, however it ends: what a killed process left
    beside the same target is removed first.

    Raises:
        OSError: The folder cannot be made.
    """
    target = target.expanduser().absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target)
    outer, lock = _locked_folder(target)
    try:
        try:
            inner = outer / STAGED_NAME
            inner.mkdir()
            yield inner
        finally:
            lock.release()
    finally:
        shutil.rmtree(outer, ignore_errors=True)


def _locked_folder(target: Path) -> tuple[Path, BaseFileLock]:
    """Make a temporary folder beside `target`, with its lock held."""
    # Most processes write nothing, and reading needs no lock.
    from filelock import FileLock  # noqa: PLC0415

    while True:
        outer = Path(
            tempfile.mkdtemp(dir=target.parent, prefix=hidden_name(target.name) + STAGING_MARK)
        )
        lock = FileLock(outer / STAGING_LOCK_NAME)
        with suppress(NotImplementedError, FileNotFoundError):  # no locks: it is never abandoned
            lock.acquire()
        if outer.exists():
            return outer, lock
        lock.release()  # another process took it for abandoned before it was locked


def _remove_abandoned(target: Path) -> None:
    """Remove the temporary folders beside `target` whose process is no more."""
    from filelock import FileLock  # noqa: PLC0415

    pattern = f"{glob.escape(hidden_name(target.name))}{STAGING_MARK}*"
    for lock_path in target.parent.glob(f"{pattern}/{STAGING_LOCK_NAME}"):
        outer = lock_path.parent
        if (outer / ASIDE_NAME).exists() and not target.exists():
            continue  # killed between two renames: the only copy of what was to be replaced
        lock = FileLock(lock_path, timeout=0)
        try:
            lock.acquire()
        except (OSError, NotImplementedError):  # in use (a Timeout is an OSError), or no locks
            continue
        # While it is held: whoever has just made the folder waits for it, and sees that it is gone.
        shutil.rmtree(outer, ignore_errors=True)
        lock.release()
        shutil.rmtree(outer, ignore_errors=True)  # Windows keeps an open file until now


@contextmanager
def staged_directory(target: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` when the block succeeds, and vanishes when not.

    Raises:
        FileExistsError: `target` exists already.
    """
    if target.exists():
        raise FileExistsError(f"{target} exists already")
    with temporary_directory_beside(target) as staging:
        yield staging
        staging.rename(target)
