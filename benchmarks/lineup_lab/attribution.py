"""Attribution by a lineup, measured: who made these images, as far as the lineup can tell?

    accuracy        share of the candidates' queries whose most probable candidate is right
    top3            share of them with their candidate among the three most probable
    auroc_unknown   AUC of candidates' against all other queries, by the best candidate's posterior
    oscr            the same, where a candidate's query counts only when its candidate is right
    ece             calibration error of the answer, "none of the candidates" being one of them

Queries that no candidate made (unknown generators, photographs) are the unknown of the open set.
All figures but the calibration error are in percent. The posterior holds under its prior, so the
calibration error weighs candidates, unknown generators and photographs as the prior does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt

from lineup.calibration.calibration import Calibration, Options
from lineup.calibration.verdict import verdict_from_scores
from lineup.errors import UsageError
from lineup.fusion import prior_from_candidates
from lineup.gallery.support import REAL_NAME
from lineup.options import Aggregate, Mode, ResynthesisOptions
from lineup.results import (
    GENERATED,
    PHOTOGRAPH,
    RESYNTHESIS,
    RESYNTHESIS_FINGERPRINT,
    Evidence,
    Verdict,
)
from lineup.resynthesis.closeness import aggregated, softmax
from lineup.types import Float64Array
from lineup_lab.dataset import check_names
from lineup_lab.metrics import (
    Answers,
    Figures,
    answers_from_probabilities,
    bootstrap_counts,
    bootstrap_interval,
    expected_calibration_error,
    figures_from_answers,
    negative_log_likelihood,
    resampled_figures,
)
from lineup_lab.scores import RawScores


@dataclass(frozen=True, slots=True)
class Judge:
    """Makes verdicts of raw scores.

    Attributes:
        candidates: Every source that may be named.
        settings: How the resyntheses were made that the scores come from.
        evidence_options: Options per evidence under given settings.
        calibration: How scores become ratios.
        families: Name of the family per candidate.
    """

    candidates: tuple[str, ...]
    settings: ResynthesisOptions
    evidence_options: Callable[[ResynthesisOptions], Mapping[str, Options]]
    calibration: Calibration | None = None
    families: Mapping[str, str] | None = None

    def at_gamma(self, gamma: int) -> ResynthesisOptions:
        """Return the settings with fewer resyntheses."""
        return replace(self.settings, gamma=gamma)

    def evidence(self, row: RawScores, gamma: int | None = None) -> tuple[Evidence, ...]:
        """Return the raw evidence, as it is with the first `gamma` resyntheses."""
        if gamma is None or gamma == self.settings.gamma:
            return row.evidence
        return tuple(_with_fewer(one, gamma, self) if one.samples else one for one in row.evidence)

    def verdict(
        self, row: RawScores, *, names: Sequence[str] | None = None, gamma: int | None = None
    ) -> Verdict:
        """Return the verdict by some evidences, all when `names` is None."""
        chosen = [one for one in self.evidence(row, gamma) if names is None or one.name in names]
        if self.settings.mode is not Mode.DEFAULT:
            return _published_verdict(self.candidates, chosen)
        settings = self.settings if gamma is None else self.at_gamma(gamma)
        return verdict_from_scores(
            self.candidates,
            chosen,
            calibration=self.calibration,
            options=self.evidence_options(settings),
            families=self.families,
        )


@dataclass(frozen=True, slots=True)
class AttributionFigures(Figures):
    """Figures over all queries.

    Attributes:
        ece: Calibration error, 0..1.
        nll: Mean of -log(posterior of the true answer), in nats, weighed like `ece`.
    """

    ece: float
    nll: float


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Verdicts on labelled images, by source.

    Attributes:
        candidates: Every source that may be named.
        roles: Per source, the posterior key that is right: a candidate, `GENERATED` or
            `PHOTOGRAPH`.
        verdicts: Per source.
    """

    candidates: tuple[str, ...]
    roles: Mapping[str, str]
    verdicts: Mapping[str, Sequence[Verdict]]

    def is_known(self, source: str) -> bool:
        """Whether a source is a candidate."""
        return self.roles[source] in self.candidates


def roles_from_sources(
    sources: Sequence[str], candidates: Sequence[str], unknown: Sequence[str], real: Sequence[str]
) -> dict[str, str]:
    """Return the right posterior key per source.

    Raises:
        UsageError: A name is no source, a source has two roles or none, or no candidate is left.
    """
    check_names("--unknown", unknown, sources)
    check_names("--real", real, sources)
    roles = {}
    for source in sources:
        claims = [source] if source in candidates else []
        claims += [GENERATED] if source in unknown else []
        claims += [PHOTOGRAPH] if source in real or (source == REAL_NAME and not claims) else []
        if len(claims) != 1:
            problem = "none of the lineup's candidates" if not claims else " and ".join(claims)
            raise UsageError(
                f"The source {source!r} is {problem}.",
                hint="Name a source that is no candidate once, with --unknown or --real. "
                f"Candidates: {', '.join(candidates)}.",
            )
        roles[source] = claims[0]
    if not set(roles.values()) & set(candidates):
        raise UsageError(
            "No source is a candidate of the lineup, so that there is nothing to attribute.",
            hint=f"Candidates: {', '.join(candidates)}.",
        )
    return roles


def calibration_roles(
    sources: Sequence[str], candidates: Sequence[str], real: Sequence[str]
) -> dict[str, str]:
    """Return the key per source: candidates by name, photographs, and all else generated."""
    return {
        source: source
        if source in candidates
        else (PHOTOGRAPH if source == REAL_NAME or source in real else GENERATED)
        for source in sources
    }


def judged(
    rows: Sequence[RawScores],
    roles: Mapping[str, str],
    judge: Judge,
    *,
    names: Sequence[str] | None = None,
    gamma: int | None = None,
) -> Judged:
    """Return verdicts by some evidences; see `Judge.verdict`."""
    verdicts: dict[str, list[Verdict]] = {source: [] for source in roles}
    for row in rows:
        verdicts[row.source].append(judge.verdict(row, names=names, gamma=gamma))
    return Judged(
        candidates=judge.candidates,
        roles=roles,
        verdicts={source: found for source, found in verdicts.items() if found},
    )


def figures_from_judged(answers: Judged) -> AttributionFigures:
    """Return the figures over all queries."""
    confidence, correct, own = _certainty(answers)
    weights = _weights(answers)
    return AttributionFigures(
        **asdict(figures_from_answers(_answers(answers))),
        ece=expected_calibration_error(confidence, correct, weights),
        nll=negative_log_likelihood(own, weights),
    )


def intervals_from_judged(
    answers: Judged, *, resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Return 95 % bootstrap intervals; every source's queries are resampled."""
    found = _answers(answers)
    confidence, correct, _ = _certainty(answers)
    base = _weights(answers)
    samples: dict[str, list[Float64Array]] = {}
    sizes = {source: len(one.predicted) for source, one in found.items()}
    for counts in bootstrap_counts(sizes, seed=seed, resamples=resamples):
        drawn = np.concatenate([counts[source] for source in answers.verdicts], axis=1)
        errors = [expected_calibration_error(confidence, correct, base * row) for row in drawn]
        for name, values in {**resampled_figures(found, counts), "ece": np.array(errors)}.items():
            samples.setdefault(name, []).append(values)
    return {name: bootstrap_interval(np.concatenate(parts)) for name, parts in samples.items()}


def figures_of_source(answers: Judged, source: str) -> AttributionFigures:
    """Return a source's part: of a candidate its own queries, else all candidates' against it."""
    chosen = [one for one in answers.verdicts if answers.is_known(one) or one == source]
    if answers.is_known(source):
        chosen = [source]
    part = Judged(answers.candidates, answers.roles, {one: answers.verdicts[one] for one in chosen})
    figures = figures_from_judged(part)
    if answers.is_known(source):
        return figures
    return replace(figures, accuracy=None, top3=None)


def _answers(answers: Judged) -> dict[str, Answers]:
    """Return what the open-set figures need, by source."""
    return {
        source: answers_from_probabilities(
            np.array([[one.posterior[name] for name in answers.candidates] for one in verdicts]),
            answers.candidates,
            answers.roles[source] if answers.is_known(source) else None,
        )
        for source, verdicts in answers.verdicts.items()
    }


def _certainty(answers: Judged) -> tuple[Float64Array, npt.NDArray[np.bool_], Float64Array]:
    """Return probability of the answer, whether it is right, and probability of what is right.

    "None of the candidates" is one answer: unknown generators and photographs together.
    """
    confidence, correct, own = [], [], []
    for source, verdicts in answers.verdicts.items():
        truth = answers.roles[source] if answers.is_known(source) else None
        for one in verdicts:
            none_of_them = one.posterior[GENERATED] + one.posterior[PHOTOGRAPH]
            best = max(answers.candidates, key=one.posterior.__getitem__)
            names_one = one.posterior[best] > none_of_them
            confidence.append(one.posterior[best] if names_one else none_of_them)
            correct.append((best if names_one else None) == truth)
            own.append(none_of_them if truth is None else one.posterior[truth])
    return np.array(confidence), np.array(correct), np.array(own)


def _weights(answers: Judged) -> Float64Array:
    """Return how much each query counts, so that candidates and all else weigh as in the prior."""
    prior = prior_from_candidates(answers.candidates)
    sizes: dict[str, int] = {}
    for source, verdicts in answers.verdicts.items():
        role = answers.roles[source]
        sizes[role] = sizes.get(role, 0) + len(verdicts)
    known = [role for role in sizes if role in answers.candidates]
    others = [role for role in sizes if role not in answers.candidates]
    share = {role: sum(prior[name] for name in answers.candidates) / len(known) for role in known}
    share |= {role: (prior[GENERATED] + prior[PHOTOGRAPH]) / len(others) for role in others}
    return np.concatenate(
        [
            np.full(len(verdicts), share[answers.roles[source]] / sizes[answers.roles[source]])
            for source, verdicts in answers.verdicts.items()
        ]
    )


def _with_fewer(evidence: Evidence, gamma: int, judge: Judge) -> Evidence:
    """Return the evidence with the first resyntheses only."""
    rules = {
        RESYNTHESIS: judge.settings.aggregate,
        RESYNTHESIS_FINGERPRINT: Aggregate.MEAN,
    }
    samples = {name: values[:gamma] for name, values in evidence.samples.items()}
    scores = {
        name: aggregated(np.array(values), rules[evidence.name]) for name, values in samples.items()
    }
    share = gamma / judge.settings.gamma
    return replace(evidence, scores=scores, samples=samples, cost_ms=evidence.cost_ms * share)


def _published_verdict(candidates: Sequence[str], evidence: Sequence[Evidence]) -> Verdict:
    """Return the answer of the papers: the softmax of the scores, one of the candidates."""
    (one,) = evidence
    shares = dict(zip(one.scores, softmax(list(one.scores.values())), strict=True))
    return Verdict(
        label=max(one.scores, key=one.scores.__getitem__),
        posterior=dict.fromkeys([*candidates, GENERATED, PHOTOGRAPH], 0.0) | shares,
        evidence=(one,),
    )
