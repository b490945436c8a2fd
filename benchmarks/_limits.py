"""Hard limits on a child's memory by a control group.

It counts private memory and the pages of files that are in memory for it, and drops the latter when
it is full. RLIMIT_DATA and RLIMIT_AS are no substitute: they bound what is reserved, and ONNX
Runtime maps weights privately and writable, so that weights that are never in memory count.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class Limiter:
    """A way to bound the memory of a child.

    Attributes:
        kind: "cgroup-v2" or "cgroup-v1".
        parent: Group in which a group per child is made.
    """

    kind: str
    parent: Path

    @contextmanager
    def limited(self, limit_bytes: int) -> Iterator[Callable[[], None]]:
        """Yield what a child calls before it starts its program."""
        group = self.parent / f"lineup-benchmark-{os.getpid()}"
        group.mkdir()
        try:
            name = "memory.max" if self.kind == "cgroup-v2" else "memory.limit_in_bytes"
            (group / name).write_text(str(limit_bytes))
            members = group / "cgroup.procs"
            yield lambda: _write_pid(members)
        finally:
            group.rmdir()


def _write_pid(members: Path) -> None:
    members.write_text(str(os.getpid()))


def limiter_from_choice(parent: Path | None) -> Limiter | None:
    """Return how memory is bounded on this machine; None where it cannot be.

    Args:
        parent: Control group that may be used; None tries the process's own of version 2, and
            never touches another.
    """
    if parent is not None:
        is_v2 = (parent / "cgroup.controllers").exists()
        return Limiter("cgroup-v2" if is_v2 else "cgroup-v1", parent)
    own = _own_group()
    if own is not None and _can_make_groups(own):
        return Limiter("cgroup-v2", own)
    return None


def _own_group() -> Path | None:
    with suppress(OSError):
        for line in OWN_GROUP.read_text(encoding="utf-8").splitlines():
            number, _, path = line.split(":", 2)
            if number == "0":
                return CGROUP_ROOT / path.lstrip("/")
    return None


def _can_make_groups(group: Path) -> bool:
    """Tell whether groups below this one may bound memory."""
    try:
        enabled = (group / "cgroup.subtree_control").read_text(encoding="ascii").split()
    except OSError:
        return False
    return "memory" in enabled and os.access(group, os.W_OK)
