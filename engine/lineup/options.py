"""What is asked, and how images come in: the options of attribution and of scans."""

from __future__ import annotations

from dataclasses import dataclass

from lineup.errors import UsageError, did_you_mean
from lineup.imaging.limits import DecodeLimits
from lineup.machine import usable_cores
from lineup.results import EVIDENCE_NAMES
from lineup.resynthesis.cascade import CascadeOptions
from lineup.resynthesis.options import ResynthesisOptions

MAX_DEFAULT_WORKERS = 4
"""More than four decoders outrun any model that this engine runs and only add memory."""

MOST_GROUP_BYTES = 256 * 2**20
"""Most memory of the decoded images of a group; a larger image goes alone."""


@dataclass(frozen=True, slots=True)
class AttributionOptions:
    """What a verdict rests on.

    Attributes:
        evidence: Some of `EVIDENCE_NAMES`; None takes all that the engine has: the gallery's
            fingerprint, and the resyntheses of a lineup that was named.
        resynthesis: How resyntheses are made; None takes the lineup's defaults.
        cascade: When resynthesis is left out after the fingerprint; None never leaves it out. It
            has no say where no fingerprint is asked for.

    Raises:
        UsageError: An evidence does not exist, or none is named.
    """

    evidence: tuple[str, ...] | None = None
    resynthesis: ResynthesisOptions | None = None
    cascade: CascadeOptions | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.evidence or () if name not in EVIDENCE_NAMES]
        if unknown or self.evidence == ():
            raise UsageError(
                f"There is no evidence {', '.join(map(repr, unknown)) or 'named'}.",
                hint=did_you_mean("".join(unknown[:1]), EVIDENCE_NAMES)
                or f"Choose some of: {', '.join(EVIDENCE_NAMES)}.",
            )


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """How the images of a scan are read and grouped.

    Memory is bounded by `look_ahead_images` and `look_ahead_bytes`, whatever the number of images:
    files being read, pixels being decoded and tiles waiting for the model are each kept below
    `look_ahead_bytes`, unless a single image alone is larger; then it goes through alone.

    Attributes:
        group_images: Images that are answered together, at most.
        group_tiles: Tiles of a group, at most, unless one image alone has more; None is no limit.
        group_bytes: Pixels and tiles of a group, at most, unless one image alone is larger.
        waits_for_group: Whether a group waits for its images however slowly their paths arrive:
            where every model is loaded for a group, waiting costs less. Else what is known is
            answered after `stall_seconds`.
        workers: Threads that read, decode and cut; None takes the usable cores, at most four.
        look_ahead_images: Images read or decoded ahead of the models, at most; None takes enough to
            fill the next group and to keep every worker busy.
        look_ahead_bytes: See above.
        limits: Guards against decompression bombs.
        stall_seconds: See `waits_for_group`.

    Raises:
        UsageError: A number is below 1.
    """

    group_images: int = 8
    group_tiles: int | None = 64
    group_bytes: int = MOST_GROUP_BYTES
    waits_for_group: bool = False
    workers: int | None = None
    look_ahead_images: int | None = None
    look_ahead_bytes: int = 512 * 2**20
    limits: DecodeLimits = DecodeLimits()  # noqa: RUF009 - frozen, so sharing one is safe
    stall_seconds: float = 0.25

    def __post_init__(self) -> None:
        for name in (
            "group_images",
            "group_tiles",
            "group_bytes",
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
        return self.workers or min(MAX_DEFAULT_WORKERS, usable_cores())

    @property
    def look_ahead_limit(self) -> int:
        """Images read or decoded ahead of the models, at least 1."""
        return self.look_ahead_images or self.group_images + 2 * self.worker_count


DEFAULT_OPTIONS = AttributionOptions()
DEFAULT_SCAN = ScanOptions()
