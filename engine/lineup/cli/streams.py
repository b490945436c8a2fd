"""Standard input, output and error, whatever whoever started the program made of them."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import click

from lineup.errors import LineupError

INTERRUPTED = 130
"""Exit code of a command that was interrupted: 128 + SIGINT, as shells report it."""

READER_GONE = 141
"""Exit code of a command whose output nobody reads any more: 128 + SIGPIPE."""


def prepare_streams() -> None:
    """Make the three streams such that using them gives an answer or an `OSError`, nothing else.

    Text that an encoding does not have is escaped. Where a shell closed a stream (`>&-`), Python
    has None, and the next file that is opened would get its number, and with it whatever a library
    prints. It becomes the null device: for messages open, for input and output so that using it
    fails, as nobody would get the rows.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDONLY if name == "stdout" else os.O_WRONLY)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            mode = "r" if name == "stdin" else "w"
            # Not closed here, so that the number stays taken.
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def world_told() -> Iterator[None]:
    """Make an error with a message and an exit code of what the system does to a command.

    Raises:
        LineupError: A file or stream failed, or memory ran out.
    """
    try:
        try:
            yield
        finally:
            _flush_output()
    except BrokenPipeError:
        raise click.exceptions.Exit(READER_GONE) from None
    except MemoryError as error:
        raise LineupError("There is not enough memory.") from error
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        files = [os.fsdecode(one) for one in (error.filename, error.filename2) if one is not None]
        raise LineupError(": ".join((" to ".join(files), reason)) if files else reason) from error


def _flush_output() -> None:
    """Write what waits for standard output, while somebody can still be told that it failed."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _point_at_null(sys.stdout)
        raise OSError(error.errno, error.strerror, "standard output") from error


def flush_messages() -> None:
    """Write what waits for standard error, or give it up: there is nobody to be told."""
    try:
        sys.stderr.flush()
    except OSError:
        _point_at_null(sys.stderr)


def _point_at_null(stream: TextIO) -> None:
    """Let what a stream could not write vanish, or the interpreter tries again at its end.

    It would complain, and end with a code of its own.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
