"""Candidates that a command of the user's asks for pictures, such as a script for an API.

The command is run without a shell, in the folder of lineup.toml, as

    COMMAND... CAPTION FOLDER

with the row of `lineup captions` on standard input. It leaves the pictures that the row names in
the folder (`0.png`, `1.jpg`, ...: after their seeds). What it made is kept like any other stored
resynthesis, so it is asked once per query and caption.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lineup.errors import ResynthesisError
from lineup.stored.captions import CAPTION_ROW, CaptionRow, PictureFolder
from lineup.stored.store import StoredResyntheses, StoredSet

SAID_BYTES = 500
"""Of what a command that failed wrote to standard error, the end that is told."""


@dataclass(frozen=True, slots=True)
class AskedCandidate:
    """A candidate whose pictures a command makes.

    Attributes:
        name: Of the candidate.
        command: Program and arguments, as a POSIX shell splits them.
        timeout_s: Seconds after which the command, and what it started, is killed.
        folder: Where it runs; None is where one is.
        store: Keeps what it made.
    """

    name: str
    command: str
    timeout_s: float
    folder: Path | None
    store: StoredResyntheses

    def pictures(self, row: CaptionRow) -> StoredSet:
        """Return the pictures that a row asks for: those that are kept, or new ones.

        Raises:
            ResynthesisError: The command failed, took too long, or left no such pictures; names it.
        """
        kept = self._kept(row)
        if kept is not None:
            return kept
        with tempfile.TemporaryDirectory(prefix="lineup-") as name:
            output = Path(name)
            try:
                self._run(row, output)
                pictures = PictureFolder(output).take(row)
                self.store.add(self.name, row, pictures)
            except ResynthesisError as error:
                message = error.message.replace(f"{output}{os.sep}", "").replace(name, "its folder")
                raise ResynthesisError(
                    f"{self.name}: the command {self.command!r}: {message}", hint=error.hint
                ) from error
        kept = self._kept(row)
        assert kept is not None
        return kept

    def _kept(self, row: CaptionRow) -> StoredSet | None:
        sets = self.store.of_query(row.sha256, [self.name]).get(self.name, ())
        fitting = (
            one
            for one in sets
            if one.caption == row.caption
            and one.record is not None
            and one.record.row.seeds[: len(row.seeds)] == row.seeds
        )
        return next(fitting, None)

    def _run(self, row: CaptionRow, output: Path) -> None:
        arguments = [*shlex.split(self.command), row.caption, str(output)]
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as given:
            given.write(CAPTION_ROW.to_bytes(row, indent=None))
            given.seek(0)
            try:
                process = subprocess.Popen(  # noqa: S603 - the user's own, without a shell
                    arguments,
                    stdin=given,
                    stdout=subprocess.DEVNULL,  # ours may be full of rows
                    stderr=said,
                    cwd=self.folder,
                    start_new_session=True,  # so that all that it starts can be ended
                )
            except (OSError, ValueError) as error:  # absent, or a zero byte in an argument
                reason = getattr(error, "strerror", None) or error
                raise ResynthesisError(f"cannot be started: {reason}") from error
            try:
                code = process.wait(self.timeout_s)
            except BaseException as error:
                _end(process)
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
                raise ResynthesisError(
                    f"took more than {self.timeout_s:g} s",
                    hint="Set timeout_s of the candidate in lineup.toml.",
                ) from error
            if code != 0:
                raise ResynthesisError(f"failed with code {code}{_end_of(said)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command that still runs, and all that it started."""
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _end_of(said: IO[bytes]) -> str:
    """Return the end of what was said, after a colon; nothing of nothing."""
    length = said.seek(0, os.SEEK_END)
    said.seek(max(0, length - SAID_BYTES))
    text = " ".join(said.read().decode("utf-8", "replace").split())
    return f": {text}" if text else ""
