"""What this process may use of the machine, and what it uses of its memory."""

from __future__ import annotations

import ctypes
import math
import os
import platform
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lineup.files import sha256_from_bytes

if TYPE_CHECKING:
    from typing_extensions import Self

STATUS = Path("/proc/self/status")
OWN_GROUPS = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")
SAMPLE_INTERVAL_S = 0.002
DIGEST_DIGITS = 20


def usable_cores() -> int:
    """Return the number of cores this process may run on, at least 1.

    Respects `taskset`, and the CPU quota of a container, rounded up, where the system tells (not on
    macOS and Windows).
    """
    quota = _quota_cores()
    cores = _scheduled_cores()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def threads_within_quota() -> int:
    """Return how many threads a quota leaves for a model; 0, "all cores", where it leaves them."""
    cores = usable_cores()
    return cores if cores < _scheduled_cores() else 0


def _scheduled_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota_cores() -> float | None:
    """Return the least CPU time per time of this process's control groups and those around them.

    A container may see its own group at the root, whatever /proc/self/cgroup calls it.
    """
    try:
        lines = OWN_GROUPS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for name in ("cpu", controllers) if controllers else ("", "unified"):
            root = GROUPS / name
            group = root / path.lstrip("/")
            around = [one for one in (group, *group.parents) if one.is_relative_to(root)]
            quotas += [quota for one in around if (quota := _quota_of_group(one)) is not None]
    return min(quotas, default=None)


def _quota_of_group(folder: Path) -> float | None:
    """Return quota / period of one group: of cpu.max (v2: "max 100000" is none), or of v1's two.

    Source: the kernel's cgroup-v2.rst and sched-bwc.rst.
    """
    try:
        if (folder / "cpu.max").exists():
            quota, period = map(int, (folder / "cpu.max").read_text().split())
        else:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            quota, period = (int((folder / name).read_text()) for name in names)
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None


@cache
def processor_features() -> str:
    """Return what tells processors with different instruction sets apart.

    On Linux the kernel's list of features (x86 "flags", ARM "Features"); elsewhere the name that
    the system gives the processor.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in {"flags", "Features"}:
            return " ".join(sorted(value.split()))
    return platform.processor()


def sums_bytes_exactly() -> bool:
    """Return whether uint8 times int8 is summed without loss.

    Processors of the x86 family without VNNI sum pairs of such products in 16 bits, and what does
    not fit stays at the end of the range.
    """
    features = processor_features().split()
    is_x86 = platform.machine().lower() in {"x86_64", "amd64"}
    return not is_x86 or any("vnni" in one or one == "amx_int8" for one in features)


def machine_digest(*more: object) -> str:
    """Return 20 hex digits that change with what the processor can do, and with `more`."""
    features = " ".join(map(str, (platform.machine(), processor_features(), *more)))
    return sha256_from_bytes(features.encode())[:DIGEST_DIGITS]


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


class Watch(ABC):
    """Takes samples in a thread, for the length of a `with` block.

    Args:
        interval_s: Time between samples.
        can_sample: Whether there is anything to read; no thread is started otherwise.
    """

    def __init__(self, interval_s: float, *, can_sample: bool) -> None:
        self._interval_s = interval_s
        self._can_sample = can_sample
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._can_sample:
            name = type(self).__name__
            self._thread = threading.Thread(target=self._follow, daemon=True, name=name)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    @abstractmethod
    def _sample(self) -> bool:
        """Take one sample; return whether there may be another."""

    def _follow(self) -> None:
        while not self._stop.wait(self._interval_s):
            if not self._sample():
                return


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
    trim = _allocator_function("malloc_trim")
    if trim is not None:
        trim(0)


@dataclass(frozen=True, slots=True)
class FreedMemory:
    """How much freed memory a process keeps for the next use.

    Attributes:
        block_bytes: Freed blocks from this size on go back to the system at once.
        rest_bytes: What may stay of smaller ones.
    """

    block_bytes: int
    rest_bytes: int


LITTLE = FreedMemory(2**20, 2**22)
"""For processes whose memory is planned. SD-Turbo's denoiser, where it computes outside
the arena of `lineup.backends.onnxrt`: at most 167 MiB, 8.4 s for the first step and 5.4 s for the
next."""

SOME = FreedMemory(2**23, 2**25)
"""For large models otherwise. SD-Turbo's denoiser, likewise: at most 488 MiB in the first step,
which knows least of what memory can be used again, and 409 MiB in the next, 4.9 s each; as glibc
does by itself 613 and 283 MiB, and 4.8 to 6 s."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Parameters of glibc's mallopt."""

_least = [sys.maxsize]
"""The smallest block that goes back at once, so far."""


def keep_freed_memory(kept: FreedMemory) -> None:
    """Tell the allocator of this process what to keep of freed memory (glibc), from here on.

    By default glibc keeps what was freed, in one pool per thread and up to 64 MiB each, and how
    much it ends up with differs from run to run. Pages that come and go cost time: a process that
    has memory to spare should leave this alone. Measured with the pocket lineup: `LITTLE` makes it
    175 to 190 MiB where glibc's default ends between 240 and 320, and a tenth slower. What was
    asked for once is never loosened.
    """
    mallopt = _allocator_function("mallopt")
    if mallopt is not None and kept.block_bytes < _least[0]:
        _least[0] = kept.block_bytes
        mallopt(_M_MMAP_THRESHOLD, kept.block_bytes)
        mallopt(_M_TRIM_THRESHOLD, kept.rest_bytes)
        mallopt(_M_ARENA_MAX, 1)


def _allocator_function(name: str) -> Callable[..., int] | None:
    """Return a function of glibc's allocator; None on other systems and C libraries."""
    if sys.platform != "linux":
        return None
    function: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    return function
