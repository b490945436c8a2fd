"""What varies that is not a generator's trace, learned from photographs and their reconstructions.

Whitening divides by how much spectra vary for reasons that do not tell sources apart. Photographs
show how content varies. Reconstructions of photographs by simulated generators show more: how
content varies within one generator, how compression and resizing move a spectrum, and, with a
small weight, the directions in which all generators differ from photographs, which tell
"generated" but not by whom.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lineup.errors import UsageError
from lineup_models.fingerprint.covariance import WeightedRows
from lineup_models.simulator.bank_reader import Bank

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CohortOptions:
    """How photographs and reconstructions are mixed into one covariance.

    Attributes:
        photographs: Weight of the covariance of photographs.
        within: Weight of the covariance within a simulated generator.
        between: Weight of the second moment of generators' means about the photographs' mean.
        degraded: Weight of the second moment of what compression and resizing change.
        rows: Most samples of each kind, drawn at random.
        seed: Of the draw.
    """

    photographs: float = 0.7
    within: float = 0.3
    between: float = 0.03
    degraded: float = 0.05
    rows: int = 900
    seed: int = 0


def cohort_from_bank(
    bank: Bank, mean: Float64Array, options: CohortOptions
) -> Mapping[str, WeightedRows]:
    """Return the deviations that reconstructions contribute, by kind.

    Args:
        bank: Pooled log-spectra of reconstructions, clean and degraded.
        mean: Mean of photographs, (dimension,).
        options: Weights and how many samples to draw.

    Raises:
        UsageError: The bank holds no generator with two images, or other spectra.
    """
    if bank.clean.shape[1] != len(mean):
        raise UsageError(
            f"The bank holds spectra of length {bank.clean.shape[1]}, expected {len(mean)}.",
            hint="Fill a bank with the spectrum settings of this fit.",
        )
    generated = ~bank.is_photograph
    models, inverse, counts = np.unique(
        bank.model[generated], return_inverse=True, return_counts=True
    )
    if len(models) == 0 or counts.max() < 2:
        raise UsageError(
            "The bank holds no generator with at least two images.",
            hint="Fill it with: python -m lineup_models.simulator bank --help",
        )
    clean = bank.clean[generated].astype(np.float64)
    means = np.stack([clean[inverse == index].mean(axis=0) for index in range(len(models))])
    several = counts[inverse] > 1
    unbiased = np.sqrt(counts[inverse] / np.maximum(counts[inverse] - 1, 1))
    within = (clean - means[inverse]) * unbiased[:, None]
    shifts = bank.degraded[generated].astype(np.float64) - clean[:, None]
    draw = np.random.default_rng(options.seed)
    kinds = {
        "within": (within[several], options.within),
        "between": (means - mean, options.between),
        "degraded": (shifts.reshape(-1, clean.shape[1]), options.degraded),
    }
    return {
        name: WeightedRows(_drawn(rows, options.rows, draw), weight)
        for name, (rows, weight) in kinds.items()
    }


def _drawn(rows: Float64Array, count: int, draw: np.random.Generator) -> Float64Array:
    if len(rows) <= count:
        return rows
    return rows[np.sort(draw.choice(len(rows), count, replace=False))]
