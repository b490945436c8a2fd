"""Raw scores of labelled images: computed once, whatever is made of them.

Calibration, ablations and sweeps differ in what they make of the scores, not in the scores. Every
image has one row per procedure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from lineup.attribution.engine import Attribution
from lineup.attribution.options import AttributionOptions
from lineup.engine import FINGERPRINT_EVIDENCE
from lineup.errors import ImageError, UsageError
from lineup.evidence.resynthesis_cost import FINGERPRINT, LOAD
from lineup.evidence.resynthesis_options import ResynthesisOptions
from lineup.files import sha256_from_bytes
from lineup.imaging.decode import bytes_from_path, image_from_bytes
from lineup.types import RgbImage
from lineup_lab.evaluation.dataset import SourceFolder
from lineup_lab.evaluation.score_file import RawScores, ScoreFile, StageRecord

PROMPTS_FILE = "prompts.json"

FINGERPRINTS_OF_PICTURES = "fingerprint of resyntheses"
"""Stage, apart from the fingerprint of the query."""


class ScoringEngine(Protocol):
    """What computes the evidence of one image."""

    def attribution(
        self, pixels: RgbImage, *, options: AttributionOptions, query_sha256: str | None
    ) -> Attribution:
        """Return the evidence of an image."""

    def run_id(self, options: AttributionOptions) -> str:
        """Return what changes when the evidence does."""


def raw_scores(
    folders: Sequence[SourceFolder],
    engine: ScoringEngine,
    options: AttributionOptions,
    store: ScoreFile,
    *,
    prompts: Mapping[str, str] | None = None,
) -> Iterator[RawScores]:
    """Yield the raw scores of every image of every folder, computed or stored.

    Args:
        folders: The sources.
        engine: Computes evidence.
        options: Which evidence, and how.
        store: Where rows are looked up and kept.
        prompts: True prompt per `<source>/<file name>`; images without one are captioned.

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

    Args:
        rows: Of one run.
        on_dropped: Told every row that is left out, and why.
    """
    sources: dict[str, set[str]] = {}
    for row in rows:
        if row.sha256 is not None:
            sources.setdefault(row.sha256, set()).add(row.source)
    seen: set[str] = set()
    kept = []
    for row in rows:
        if row.error is not None or row.sha256 is None:
            on_dropped(row, row.error or "no content")
        elif len(sources[row.sha256]) > 1:
            on_dropped(row, f"also in {', '.join(sorted(sources[row.sha256] - {row.source}))}")
        elif row.sha256 in seen:
            on_dropped(row, "duplicate")
        else:
            seen.add(row.sha256)
            kept.append(row)
    return kept


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
    path: Path, source: str, run: str, engine: ScoringEngine, options: AttributionOptions
) -> RawScores:
    try:
        data = bytes_from_path(path)
        image = image_from_bytes(data)
    except ImageError as error:
        return RawScores(path=str(path), source=source, run=run, error=error.message)
    sha256 = sha256_from_bytes(data)
    found = engine.attribution(image.pixels, options=options, query_sha256=sha256)
    evidence = {one.name: one for one in found.verdict.evidence}
    stages = {"preprocess": StageRecord(found.preprocess_ms), "fuse": StageRecord(found.fuse_ms)}
    if FINGERPRINT_EVIDENCE in evidence:
        cost_ms = evidence[FINGERPRINT_EVIDENCE].cost_ms
        stages[FINGERPRINT] = StageRecord(cost_ms - found.preprocess_ms)
    graph_runs: dict[str, int] = {}
    is_cold = False
    if found.resynthesis is not None:
        evidence |= {one.name: one for one in found.resynthesis.evidence}  # without ratios
        cost = found.resynthesis.cost
        graph_runs = dict(cost.graph_runs)
        is_cold = any(one.graph == LOAD for one in cost.graphs)
        for one in cost.stages:
            name = FINGERPRINTS_OF_PICTURES if one.stage == FINGERPRINT else one.stage
            stages[name] = StageRecord(1e3 * one.seconds, one.calls, one.items, one.cached)
    return RawScores(
        path=str(path),
        source=source,
        run=run,
        sha256=sha256,
        evidence=tuple(replace(one, notes=()) for one in evidence.values()),
        caption=found.verdict.caption,
        stages=stages,
        graph_runs=graph_runs,
        seconds=(found.preprocess_ms + found.inference_ms + found.fuse_ms) / 1e3,
        is_cold=is_cold,
    )


def _with_prompt(options: AttributionOptions, prompt: str | None) -> AttributionOptions:
    if prompt is None:
        return options
    settings = options.resynthesis or ResynthesisOptions()
    return replace(options, resynthesis=replace(settings, prompt=prompt))
