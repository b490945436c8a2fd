"""Raw scores of labelled images and what they cost: computed once, whatever is made of them.

Calibration, ablations and sweeps differ in what they make of the scores, not in the scores. Every
image has one row per procedure, kept in a file of JSON lines: a run that was killed goes on where
it ended, and rows of another run (other models, gallery or options) stay in the file and are not
used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lineup.errors import ImageError, UsageError
from lineup.files import sha256_from_bytes
from lineup.options import AttributionOptions, ResynthesisOptions
from lineup.results import FINGERPRINT as QUERY_FINGERPRINT
from lineup.results import Attribution, Evidence
from lineup.trace import FINGERPRINT, LOAD
from lineup_lab.dataset import SourceFolder

if TYPE_CHECKING:
    from lineup.engine import Engine

PROMPTS_FILE = "prompts.json"

FINGERPRINTS_OF_PICTURES = "fingerprint of resyntheses"
"""Stage, apart from the fingerprint of the query."""


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
                stream.write(msgspec.json.encode(row) + b"\n")
        except OSError as error:
            raise UsageError(f"Cannot write {self.path}: {error.strerror or error}.") from error

    def _read(self, path: Path) -> None:
        try:
            with path.open("r+b") as stream:
                end = 0
                for number, line in enumerate(stream, start=1):
                    if not line.endswith(b"\n"):
                        break  # the run was killed while it wrote this row
                    row = _row_from_line(path, number, line)
                    self._rows[row.run, row.path] = row
                    end += len(line)
                stream.truncate(end)
        except OSError as error:
            raise UsageError(f"Cannot read {path}: {error.strerror or error}.") from error


def raw_scores(
    folders: Sequence[SourceFolder],
    engine: Engine,
    options: AttributionOptions,
    store: ScoreFile,
    *,
    prompts: Mapping[str, str] | None = None,
) -> Iterator[RawScores]:
    """Yield the raw scores of every image of every folder, computed or stored.

    `prompts` are true ones per `<source>/<file name>`; images without one are captioned.

    Raises:
        UsageError: The rows cannot be written.
        BackendError: A model failed.
    """
    run = engine.run_id(options)
    for folder in folders:
        for path in folder.paths:
            prompt = (prompts or {}).get(f"{folder.name}/{path.name}")
            key = run if prompt is None else sha256_from_bytes(f"{run}\n{prompt}".encode())[:12]
            row = store.get(key, path)
            if row is None:
                row = _computed(path, folder.name, key, engine, _with_prompt(options, prompt))
                store.add(row)
            yield row


def distinct_rows(
    rows: Sequence[RawScores], on_dropped: Callable[[RawScores, str], None]
) -> list[RawScores]:
    """Return the rows with scores, each content once; content of two sources has no known origin.

    `on_dropped` is told every row that is left out, and why.
    """
    sources: dict[str, set[str]] = {}
    for row in rows:
        if row.sha256 is not None:
            sources.setdefault(row.sha256, set()).add(row.source)
    kept: dict[str, RawScores] = {}
    for row in rows:
        if row.error is not None or row.sha256 is None:
            on_dropped(row, row.error or "no content")
        elif len(sources[row.sha256]) > 1:
            on_dropped(row, f"also in {', '.join(sorted(sources[row.sha256] - {row.source}))}")
        elif kept.setdefault(row.sha256, row) is not row:
            on_dropped(row, "duplicate")
    return list(kept.values())


def prompts_from_dir(root: Path) -> dict[str, str]:
    """Read `prompts.json`: true prompt per `<source>/<file name>`; empty when there is none.

    Raises:
        UsageError: The file is not such a table.
    """
    path = root / PROMPTS_FILE
    if not path.exists():
        return {}
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not a JSON file: {error}") from error
    if not isinstance(table, dict) or not all(isinstance(one, str) for one in table.values()):
        raise UsageError(
            f"{path} is not a table of prompts.",
            hint='Expected: {"<source>/<file name>": "prompt", ...}',
        )
    return table


def _computed(
    path: Path, source: str, run: str, engine: Engine, options: AttributionOptions
) -> RawScores:
    try:
        found = engine.attribute(path, options=options)
    except ImageError as error:
        return RawScores(path=str(path), source=source, run=run, error=error.message)
    assert found.verdict is not None
    evidence = {one.name: one for one in found.verdict.evidence}
    preprocess_ms = found.ms.preprocess or 0.0
    stages = {
        "preprocess": StageRecord(preprocess_ms),
        "fuse": StageRecord(found.ms.fuse or 0.0),
    }
    if QUERY_FINGERPRINT in evidence:
        cost_ms = evidence[QUERY_FINGERPRINT].cost_ms
        stages[FINGERPRINT] = StageRecord(cost_ms - preprocess_ms)
    graph_runs: dict[str, int] = {}
    is_cold = False
    if found.resyntheses is not None:
        evidence |= {one.name: one for one in found.resyntheses.evidence}  # without ratios
        trace = found.resyntheses.trace
        graph_runs = {name: one.calls for name, one in trace.graphs.items() if name != LOAD}
        is_cold = LOAD in trace.graphs
        for stage, one in trace.stages.items():
            name = FINGERPRINTS_OF_PICTURES if stage == FINGERPRINT else stage
            stages[name] = StageRecord(1e3 * one.seconds, one.calls, one.items, one.cached)
    return RawScores(
        path=str(path),
        source=source,
        run=run,
        sha256=found.sha256,
        evidence=tuple(replace(one, notes=()) for one in evidence.values()),
        caption=found.verdict.caption,
        stages=stages,
        graph_runs=graph_runs,
        seconds=answering_ms(found) / 1e3,
        is_cold=is_cold,
    )


def _with_prompt(options: AttributionOptions, prompt: str | None) -> AttributionOptions:
    if prompt is None:
        return options
    settings = options.resynthesis or ResynthesisOptions()
    return replace(options, resynthesis=replace(settings, prompt=prompt))


def _row_from_line(path: Path, number: int, line: bytes) -> RawScores:
    try:
        return msgspec.json.decode(line, type=RawScores)
    except msgspec.MsgspecError as error:
        raise UsageError(
            f"{path}: line {number} is not a row of raw scores: {error}",
            hint="Move the file away to compute everything anew.",
        ) from error


def answering_ms(found: Attribution) -> float:
    """Return what an answer took from the decoded image on."""
    return sum(one or 0.0 for one in (found.ms.preprocess, found.ms.inference, found.ms.fuse))
