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


def drop_cached_files(folder: Path) -> None:
    """Let the system forget what it holds of a folder's files.

    Pages that are in memory already count for whoever read them first, not for the group.
    """
    for path in folder.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(file)


def limiter_from_choice(parent: Path | None) -> Limiter | None:
    """Return how memory is bounded on this machine; None where it cannot be.

    Args:
        parent: Control group that may be used; None tries the process's own and touches no other,
            so that the child stays under whatever bounds hold for this process.
    """
    if parent is not None:
        is_v2 = (parent / "cgroup.controllers").exists()
        return Limiter("cgroup-v2" if is_v2 else "cgroup-v1", parent)
    return next((one for one in _own_groups() if _can_make_groups(one)), None)


def _own_groups() -> Iterator[Limiter]:
    """Yield the groups that this process is in: "0::/path", "4:memory:/path"."""
    with suppress(OSError):
        for line in OWN_GROUP.read_text(encoding="utf-8").splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0":
                yield Limiter("cgroup-v2", CGROUP_ROOT / path.lstrip("/"))
            elif "memory" in controllers.split(","):
                yield Limiter("cgroup-v1", CGROUP_ROOT / "memory" / path.lstrip("/"))


def _can_make_groups(limiter: Limiter) -> bool:
    """Tell whether groups below this one may bound memory."""
    group = limiter.parent
    if limiter.kind == "cgroup-v1":
        bounds = group / "memory.limit_in_bytes"
        return bounds.exists() and os.access(group, os.W_OK)
    try:
        enabled = (group / "cgroup.subtree_control").read_text(encoding="ascii").split()
    except OSError:
        return False
    return "memory" in enabled and os.access(group, os.W_OK)
