"""What this process may use of the machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def usable_cores() -> int:
    """Return the number of cores this process may run on, at least 1.

    Respects containers and `taskset` where the system tells (not on macOS and Windows).
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
