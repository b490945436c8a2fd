"""Where a training computes, and that it computes the same every time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lineup.errors import UsageError


def device_named(name: str) -> str:
    """Return `name` when torch can compute there.

    Raises:
        UsageError: It is no device, or none that is active here.
    """
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"torch cannot compute on {name!r}: {reason}",
            hint="Choose --device cpu, or install a torch build for this machine's GPU.",
        ) from error
    return name


@contextmanager
def deterministic(*, threads: int | None = None) -> Iterator[None]:
    """Let torch choose algorithms that give the same bits again, for the length of the block.

    Args:
        threads: CPU threads; None leaves torch's number.
    """
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    # cuBLAS reads it when its first handle is made.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if threads is not None:
        torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
