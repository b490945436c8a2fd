"""Attacked queries: the images that a split asks about, fingerprinted once more per attack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lineup.errors import UsageError
from lineup.evidence.batch import (
    DEFAULT_BATCH,
    FailedFile,
    FingerprintedFile,
    TileFingerprinter,
    fingerprints_from_paths,
)
from lineup.types import Float32Array
from lineup_lab.evaluation.attacks import Attack, AttackedExtractor
from lineup_lab.evaluation.dataset import LabelledSource
from lineup_lab.evaluation.splits import Split


@dataclass(frozen=True, slots=True, eq=False)
class AttackedQueries:
    """Every source's queries after one attack.

    Attributes:
        attack: What was done to them.
        fingerprints: Per source, shape (Q, D), float32; rows in the order of the split's queries.
        failures: Queries that could not be used any more; they have no row.
    """

    attack: Attack
    fingerprints: Mapping[str, Float32Array]
    failures: tuple[FailedFile, ...] = ()


def attacked_queries(
    sources: Sequence[LabelledSource],
    splits: Mapping[str, Split],
    attack: Attack,
    extractor: TileFingerprinter,
    *,
    batch: int = DEFAULT_BATCH,
    on_file: Callable[[FingerprintedFile | FailedFile], None] = lambda _: None,
) -> AttackedQueries:
    """Fingerprint the queries of every source after an attack; support images are not touched.

    Args:
        sources: Sources whose `paths` are known.
        splits: Support and queries per source.
        attack: What to do to the images.
        extractor: Turns images into fingerprints.
        batch: Images per call of the model.
        on_file: Called after each file, in order; for progress.

    Raises:
        UsageError: No query of a source is usable after the attack.
        BackendError: The model failed.
    """
    owners = [source.name for source in sources for _ in splits[source.name].queries]
    paths = (source.paths[row] for source in sources for row in splits[source.name].queries)
    rows: dict[str, list[Float32Array]] = {source.name: [] for source in sources}
    failures = []
    files = fingerprints_from_paths(paths, AttackedExtractor(extractor, attack), batch=batch)
    for name, file in zip(owners, files, strict=True):
        if isinstance(file, FailedFile):
            failures.append(file)
        else:
            rows[name].append(file.fingerprint)
        on_file(file)
    for name, usable in rows.items():
        if not usable:
            raise UsageError(
                f"No query of source {name!r} is usable after the attack {attack}.",
                hint="Choose a weaker attack.",
            )
    return AttackedQueries(
        attack, {name: np.stack(usable) for name, usable in rows.items()}, tuple(failures)
    )
