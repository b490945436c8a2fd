"""Random weights that depend on a seed and a name alone."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TypeVar

import torch

Made = TypeVar("Made")


def seed_of(seed: int, name: str) -> int:
    """Return a seed for one part of a run, 0..2^32 - 1."""
    return zlib.crc32(f"{name}:{seed}".encode())


def initialised(make: Callable[[], Made], seed: int, name: str) -> Made:
    """Return what `make` draws; the caller's random state is not ours to move."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, name))
        return make()
