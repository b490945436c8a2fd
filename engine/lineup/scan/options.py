"""What a scan is asked to do."""

from __future__ import annotations

from dataclasses import dataclass

from lineup.errors import UsageError
from lineup.imaging.decode import DecodeLimits
from lineup.machine import usable_cores

EVIDENCE_NAMES = ("fingerprint",)
"""Every evidence that a scan can be asked for, cheapest first."""

MAX_DEFAULT_WORKERS = 4


def default_workers() -> int:
    """Return the number of reader threads when none is given: the usable cores, at most four.

    More than four decoders outrun any model that this engine runs and only add memory.
    """
    return min(MAX_DEFAULT_WORKERS, usable_cores())


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """Options of a scan.

    Memory is bounded by `look_ahead_images` and `look_ahead_bytes`, whatever the number of images:
    files being read, pixels being decoded and tiles waiting for the model are each kept below
    `look_ahead_bytes`, unless a single image alone is larger; then it goes through alone.

    Attributes:
        evidence: Names out of `EVIDENCE_NAMES`.
        batch: Images per call of the model, at most.
        max_batch_tiles: Tiles per call of the model, at most (one image may exceed it).
        workers: Threads that read, decode and cut; None takes `default_workers()`.
        look_ahead_images: Images read or decoded ahead of the model, at most; None takes enough to
            fill the next batch and to keep every worker busy.
        look_ahead_bytes: See above.
        limits: Guards against decompression bombs.
        stall_seconds: Rows of an unfinished batch are delivered when no new path arrives for this
            long, so that a slow list of paths does not hold back what is known.

    Raises:
        UsageError: A number is below 1, or an evidence name is unknown or missing.
    """

    evidence: tuple[str, ...] = ("fingerprint",)
    batch: int = 8
    max_batch_tiles: int = 64
    workers: int | None = None
    look_ahead_images: int | None = None
    look_ahead_bytes: int = 512 * 2**20
    limits: DecodeLimits = DecodeLimits()  # noqa: RUF009 - frozen, so sharing one is safe
    stall_seconds: float = 0.25

    def __post_init__(self) -> None:
        unknown = [name for name in self.evidence if name not in EVIDENCE_NAMES]
        if unknown or not self.evidence:
            raise UsageError(
                f"Unknown evidence {', '.join(map(repr, unknown)) or '(none)'}.",
                hint=f"Choose from: {', '.join(EVIDENCE_NAMES)}.",
            )
        for name in (
            "batch",
            "max_batch_tiles",
            "workers",
            "look_ahead_images",
            "look_ahead_bytes",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}, expected at least 1.")

    @property
    def worker_count(self) -> int:
        """Threads that read, decode and cut, at least 1."""
        return default_workers() if self.workers is None else self.workers

    @property
    def look_ahead_limit(self) -> int:
        """Images read or decoded ahead of the model, at least 1."""
        if self.look_ahead_images is not None:
            return self.look_ahead_images
        return self.batch + 2 * self.worker_count
