"""Commands of `lineup` in forks of this process: all is loaded, so that they only do their work."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from lineup.backends import building
from lineup.backends.onnxrt import WeightPolicy
from lineup.cli.main import main

MODULES = (
    "lineup.cli.attribute", "lineup.cli.build", "lineup.cli.enroll", "lineup.cli.gallery",
    "lineup.cli.models", "lineup.cli.scan", "lineup.backends.building", "lineup.engine",
    "lineup.gallery.enroll", "lineup.scan.output", "lineup.stream",
)  # fmt: skip


def load(*modules: str) -> None:
    """Load what commands need; nothing here may start a thread, which a fork would lack.

    Graphs are built as if they were large: their weights stay in the file.
    """
    cv2.setNumThreads(1)
    building.policy_from_size = lambda _: WeightPolicy.MAPPED
    for name in (*MODULES, *modules):
        importlib.import_module(name)


class Fork:
    """A command in a process of its own.

    Args:
        arguments: What follows `lineup`.
        home: Its LINEUP_HOME; temporary files lie in `tmp` beside it, what it says in `said`.
    """

    def __init__(self, arguments: Sequence[str], home: Path) -> None:
        self.arguments = list(arguments)
        self.said = home.parent / f"said-{os.getpid()}-{time.monotonic_ns()}"
        (home.parent / "tmp").mkdir(parents=True, exist_ok=True)
        self._code: int | None = None
        self._pid = os.fork()
        if self._pid == 0:
            self._run(home)

    def _run(self, home: Path) -> None:
        code: object = 1
        try:
            handle = os.open(self.said, os.O_WRONLY | os.O_CREAT)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            os.environ["LINEUP_HOME"] = str(home)
            tempfile.tempdir = str(home.parent / "tmp")
            sys.argv = ["lineup", *self.arguments]
            main()
        except SystemExit as end:
            code = end.code
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code if isinstance(code, int) else 0)

    def wait(self) -> int:
        """Return the exit code; below 0 the signal that ended it."""
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._code

    def ended_within(self, seconds: float) -> bool:
        """Wait; return whether it ended."""
        deadline = time.monotonic() + seconds
        while self._code is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() >= deadline:
                return False
            else:
                time.sleep(0.001)
        return True

    def kill(self) -> bool:
        """Send SIGKILL; return whether it came before the end."""
        os.kill(self._pid, signal.SIGKILL)
        return self.wait() == -signal.SIGKILL

    def messages(self) -> str:
        """Return what it wrote to its standard output and error."""
        return self.said.read_text(encoding="utf-8", errors="replace")


def write_images(folder: Path, count: int, seed: int) -> list[str]:
    """Write PNG files of coloured noise; return their paths."""
    draw = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(count):
        smooth = cv2.resize(draw.integers(0, 256, (16, 16, 3), np.uint8), (256, 256))
        pixels = smooth // 2 + draw.integers(0, 128, smooth.shape, np.uint8)
        paths.append(str(folder / f"{seed}-{index:03}.png"))
        cv2.imwrite(paths[-1], pixels)
    return paths
