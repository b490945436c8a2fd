"""Summaries of repeated measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from lineup.errors import UsageError

STEADY_VARIATION = 0.05
"""Coefficient of variation above which a mean says little about the next run."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A sample of latencies in milliseconds.

    Attributes:
        count: Measurements.
        min: Smallest.
        mean: Arithmetic mean.
        median: The 50th percentile.
        p50: The same, under the name the percentiles share.
        p90: 90 of 100 runs were at most this long; MLPerf's figure for single stream.
        p95: 95th percentile.
        p99: 99th percentile; from fewer than 100 runs it is close to the largest.
        cv: Standard deviation out of the mean; 0 for a single run.
    """

    count: int
    min: float
    mean: float
    median: float
    p50: float
    p90: float
    p95: float
    p99: float
    cv: float

    @property
    def is_steady(self) -> bool:
        """Whether runs vary little enough for the mean to describe the next one."""
        return self.cv <= STEADY_VARIATION

    def as_dict(self) -> dict[str, float]:
        """Return plain numbers for JSON, rounded to a microsecond."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def summary_from_ms(samples: Sequence[float]) -> Summary:
    """Summarise latencies; percentiles are interpolated linearly.

    Args:
        samples: At least one, in milliseconds.

    Raises:
        UsageError: There is no sample.
    """
    if not samples:
        raise UsageError("Nothing was measured.", hint="Raise --iterations or --duration.")
    values = np.asarray(samples, np.float64)
    p50, p90, p95, p99 = np.percentile(values, [50, 90, 95, 99]).tolist()
    mean = float(values.mean())
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return Summary(
        count=len(values),
        min=float(values.min()),
        mean=mean,
        median=p50,
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        cv=deviation / mean if mean else 0.0,
    )
