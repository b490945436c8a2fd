"""Resynthesis at SD-Turbo's size under hard memory limits: does it run, and how much slower.

    python benchmarks/memory_limits.py [--limits none 4GiB 2GiB] [--peers ...] [--record]

Text encoder, one denoiser step at 512 px, decoder, and CLIP ViT-L/14@336 to its middle layer, by
ours; diffusers fp32 without CLIP beside it. A control group sets the limit and counts mapped
weights in memory too; the file cache is emptied of the models first. Groups are made below the
process's own, or below --cgroup-parent; where neither may be done, limits are recorded as not run.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _models import ENCODER, GENERATORS, add_arguments, models_from_arguments, settings_of_models
from _peers import Peer, medians, run_peer
from _record import finish, parser_of, settings_of
from lineup.planning.plan import bytes_from_text
from synthesis import OURS, REFERENCE, peer_from_name, request_of

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
    def limited(self, limit_bytes: int) -> Iterator[Callable[[], object]]:
        """Yield what a child calls before it starts its program."""
        group = self.parent / f"lineup-benchmark-{os.getpid()}"
        group.mkdir()
        try:
            name = "memory.max" if self.kind == "cgroup-v2" else "memory.limit_in_bytes"
            (group / name).write_text(str(limit_bytes))
            members = group / "cgroup.procs"
            yield lambda: members.write_text(str(os.getpid()))
        finally:
            group.rmdir()


def drop_cached_files(folder: Path) -> None:
    """Let the system forget what it holds of a folder's files.

    Pages that are in memory already count for whoever read them first, not for the group.
    """
    for path in folder.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
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


def run_limited(
    peer: Peer, request: dict[str, Any], limiter: Limiter | None, limit: str
) -> dict[str, Any]:
    """Run a peer once within a limit; "none" is no limit."""
    if limit == "none":
        return run_peer(peer, request)
    if limiter is None:
        return {"error": "not run: no control group can be made here; name a --cgroup-parent"}
    with limiter.limited(bytes_from_text(limit)) as before_start:
        return run_peer(peer, request, limit=before_start)


def measure(arguments: argparse.Namespace, limiter: Limiter | None) -> dict[str, Any]:
    """Run every peer under every limit."""
    models = models_from_arguments(arguments)
    models.optimise([GENERATORS[0], ENCODER])
    encoder = {"encoder": str(models.bundle(ENCODER))}
    peers = [
        peer_from_name(name, models, **(encoder if name == OURS else {}))
        for name in arguments.peers
    ]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        request = request_of(arguments, Path(folder), seed=0) | {"device": "cpu"}
        for limit in arguments.limits:
            for peer in peers:
                for used in (GENERATORS[0], ENCODER):
                    drop_cached_files(models.bundle(used))
                drop_cached_files(models.optimised)
                runs = [run_limited(peer, request, limiter, limit) for _ in range(arguments.rounds)]
                found.setdefault(limit, {})[peer.name] = outcome(runs)
                print(outcome_line(limit, peer.name, found[limit][peer.name]), file=sys.stderr)
    used = [GENERATORS[0], ENCODER]
    return {"limits": found, "models": settings_of_models(models, used)}


def outcome(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians, or how it failed."""
    errors = [run["error"] for run in runs if "error" in run]
    return {"error": errors[0]} if errors else {"medians": medians(runs), "runs": runs}


def outcome_line(limit: str, name: str, found: dict[str, Any]) -> str:
    """Return a line for people."""
    if "error" in found:
        return f"{limit:>6} {name:16} failed: {found['error'][-120:]}"
    one = found["medians"]
    return (
        f"{limit:>6} {name:16}{one['ready_s']:8.1f} s to the first, {one['run_s']:.2f} s warm, "
        f"{one['peak_mib.anonymous_mib']:.0f} MiB anonymous, "
        f"{one['peak_mib.total_mib']:.0f} MiB in all"
    )


def main() -> None:
    """Measure, print lines and the JSON line."""
    parser = parser_of(__doc__)
    add_arguments(parser)
    parser.add_argument("--limits", nargs="+", default=["none", "4GiB", "2GiB"])
    parser.add_argument("--peers", nargs="+", default=[OURS, REFERENCE])
    parser.add_argument("--cgroup-parent", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=2)
    arguments = parser.parse_args()
    limiter = limiter_from_choice(arguments.cgroup_parent)
    results = measure(arguments, limiter)
    settings = {
        "limited_by": None if limiter is None else limiter.kind,
        **settings_of(arguments, "size", "threads", "rounds", "repeat", "tiny", "as_exported"),
    }
    finish("memory_limits", settings, results, record=arguments.record)


if __name__ == "__main__":
    main()
