"""The closed-set answers of the published methods."""

from __future__ import annotations

from collections.abc import Sequence

from lineup.evidence.distances import softmax
from lineup.evidence.resynthesis_options import Mode
from lineup.results import REAL, UNKNOWN, Resynthesis, Verdict


def published_verdict(names: Sequence[str], resynthesis: Resynthesis, mode: Mode) -> Verdict:
    """Return the closed-set answer of papers A and B: the closest candidate, softmax of scores.

    Nothing is said on `UNKNOWN` and `REAL`, which the papers do not have.
    """
    (evidence,) = resynthesis.evidence
    shares = dict(zip(evidence.scores, softmax(list(evidence.scores.values())), strict=True))
    posterior = dict.fromkeys([*names, UNKNOWN, REAL], 0.0) | shares
    return Verdict(
        label=max(evidence.scores, key=evidence.scores.__getitem__),
        posterior=posterior,
        evidence=(evidence,),
        caption=resynthesis.caption,
        notes=(f"{mode.value}: one of the candidates by assumption; shares are not calibrated",),
    )
