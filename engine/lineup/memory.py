"""Peak memory of this process: what only it holds, and what is mapped from files."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from pathlib import Path

from lineup.sampling import Watch

STATUS = Path("/proc/self/status")
SAMPLE_INTERVAL_S = 0.002


@dataclass(frozen=True, slots=True)
class PeakMemory:
    """Peaks of a stretch of time, in MiB. Each part has its own, so they need not add up.

    Attributes:
        anonymous_mib: Memory that belongs to this process alone and cannot be dropped.
        file_backed_mib: Pages of files, such as mapped weights: shared between processes, and
            given back by the system when memory is short.
    """

    anonymous_mib: float
    file_backed_mib: float


class MemoryWatch(Watch):
    """Follows this process's resident memory in a thread, for the length of a `with` block.

    The kernel keeps a high-water mark of the total only, so the parts (`RssAnon`, and `RssFile`
    with `RssShmem`) are sampled. `smaps_rollup` would say the same at 10 ms a look, in the way of
    what is measured.
    """

    def __init__(self, interval_s: float = SAMPLE_INTERVAL_S) -> None:
        super().__init__(interval_s, can_sample=self.available())
        self._peaks = [0, 0]

    @staticmethod
    def available() -> bool:
        """Tell whether this system has the figures; Linux does."""
        return STATUS.exists()

    @property
    def peak(self) -> PeakMemory | None:
        """Peaks so far; None where the system does not tell."""
        if not self._can_sample:
            return None
        self._sample()
        anonymous, file_backed = (kib / 1024 for kib in self._peaks)
        return PeakMemory(anonymous, file_backed)

    def _sample(self) -> bool:
        now = resident_kib()
        self._peaks = [max(pair) for pair in zip(self._peaks, now, strict=True)]
        return True


def resident_kib() -> tuple[int, int]:
    """Return anonymous and file-backed resident memory of this process, in KiB (Linux)."""
    fields = {}
    for line in STATUS.read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name in {"RssAnon", "RssFile", "RssShmem"}:
            fields[name] = int(rest.split()[0])
    return fields["RssAnon"], fields["RssFile"] + fields["RssShmem"]


def return_freed_memory() -> None:
    """Give memory that was freed back to the system, where the allocator can be told to (glibc).

    Blocks that a released model held stay with the process otherwise, beside those of the next.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries lack it
        if trim is not None:
            trim(0)


LEAN_BLOCK_BYTES = 2**20
"""Freed blocks from this size on go back to the system at once."""

LEAN_REST_BYTES = 2**22
"""Free memory that may stay with the process."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Parameters of glibc's mallopt."""


def keep_little_freed_memory() -> None:
    """Let the allocator of this process give memory back as it is freed (glibc), from here on.

    By default glibc keeps what was freed, in one pool per thread and up to 64 MiB each, and how
    much it ends up with differs from run to run. Large models notice nothing of the pages that
    come and go; small ones become slower by about a tenth, so a process that has memory to spare
    should leave this alone. Measured with the pocket lineup: 175 to 190 MiB where glibc's default
    ends between 240 and 320.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries lack it
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, LEAN_BLOCK_BYTES)
            mallopt(_M_TRIM_THRESHOLD, LEAN_REST_BYTES)
            mallopt(_M_ARENA_MAX, 1)
