"""Raw scores of images and what they cost, kept in a file of JSON lines.

A run that was killed goes on where it ended, and rows of another run (other models, gallery or
options) stay in the file and are not used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lineup.errors import UsageError
from lineup.results import Evidence


@dataclass(frozen=True, slots=True)
class StageRecord:
    """What one stage cost for one image.

    Attributes:
        ms: Time, in milliseconds.
        calls: Calls of its model.
        items: What came out.
        cached: What an earlier run had made.
    """

    ms: float
    calls: int = 1
    items: int = 1
    cached: int = 0


@dataclass(frozen=True, slots=True)
class RawScores:
    """The raw evidence of one image.

    Attributes:
        path: The file, as found.
        source: Its folder's name.
        run: Identity of what computed it.
        sha256: Hash of the file; None when it could not be read.
        evidence: Raw scores; ratios only where the evidence has a rule of its own.
        caption: What the resyntheses were made from.
        stages: Cost per stage.
        graph_runs: Runs per graph inside of the generators.
        seconds: Decoding left out, everything else.
        is_cold: Whether a model was loaded meanwhile.
        error: Why there are no scores; None when there are.
    """

    path: str
    source: str
    run: str
    sha256: str | None = None
    evidence: tuple[Evidence, ...] = ()
    caption: str | None = None
    stages: Mapping[str, StageRecord] = field(default_factory=dict)
    graph_runs: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    is_cold: bool = False
    error: str | None = None

    @property
    def key(self) -> str:
        """`<source>/<file name>`, as in the table of prompts."""
        return f"{self.source}/{Path(self.path).name}"

    @property
    def is_fresh(self) -> bool:
        """Whether nothing came from a cache, so that `seconds` is what a verdict costs."""
        return not any(stage.cached for stage in self.stages.values())


def timed_rows(rows: Sequence[RawScores]) -> list[RawScores]:
    """Return the rows whose time is that of a verdict: nothing cached and, if any, none cold."""
    fresh = [row for row in rows if row.is_fresh]
    return [row for row in fresh if not row.is_cold] or fresh


class ScoreFile:
    """A file of raw scores that grows image by image.

    Args:
        path: Created by the first row; None keeps rows in memory only.

    Raises:
        UsageError: The file holds something else, or cannot be read.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._rows: dict[tuple[str, str], RawScores] = {}
        if path is not None and path.exists():
            self._read(path)

    def get(self, run: str, path: Path) -> RawScores | None:
        """Return the row of an image; None when there is none of this run, or it failed."""
        row = self._rows.get((run, str(path)))
        return None if row is None or row.error is not None else row

    def add(self, row: RawScores) -> None:
        """Keep a row, on disk before the next image begins.

        Raises:
            UsageError: The file cannot be written.
        """
        self._rows[row.run, row.path] = row
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as stream:
                stream.write(json.dumps(_record_from_scores(row)).encode("ascii") + b"\n")
        except OSError as error:
            raise UsageError(f"Cannot write {self.path}: {error.strerror or error}.") from error

    def _read(self, path: Path) -> None:
        try:
            with path.open("r+b") as stream:
                end = 0
                for number, line in enumerate(stream, start=1):
                    if not line.endswith(b"\n"):
                        break  # the run was killed while it wrote this row
                    row = _scores_from_line(path, number, line)
                    self._rows[row.run, row.path] = row
                    end += len(line)
                stream.truncate(end)
        except OSError as error:
            raise UsageError(f"Cannot read {path}: {error.strerror or error}.") from error


def _record_from_scores(row: RawScores) -> dict[str, Any]:
    """Return a row as JSON values."""
    return {
        "path": row.path,
        "source": row.source,
        "run": row.run,
        "sha256": row.sha256,
        "evidence": {
            one.name: {
                "scores": dict(one.scores),
                "llr": dict(one.llr),
                "samples": {key: list(values) for key, values in one.samples.items()},
                "cost_ms": one.cost_ms,
            }
            for one in row.evidence
        },
        "caption": row.caption,
        "stages": {name: asdict(stage) for name, stage in row.stages.items()},
        "graph_runs": dict(row.graph_runs),
        "seconds": row.seconds,
        "is_cold": row.is_cold,
        "error": row.error,
    }


def _scores_from_line(path: Path, number: int, line: bytes) -> RawScores:
    try:
        record = json.loads(line)
        evidence = tuple(
            Evidence(
                name=name,
                scores=one["scores"],
                llr=one["llr"],
                cost_ms=one["cost_ms"],
                samples={key: tuple(values) for key, values in one["samples"].items()},
            )
            for name, one in record.pop("evidence").items()
        )
        stages = {name: StageRecord(**one) for name, one in record.pop("stages").items()}
        return RawScores(**record, evidence=evidence, stages=stages)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path}: line {number} is not a row of raw scores.",
            hint="Move the file away to compute everything anew.",
        ) from error
