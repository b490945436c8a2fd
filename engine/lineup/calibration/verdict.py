"""From raw evidence to a calibrated verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lineup.calibration.calibration import (
    Calibration,
    CalibrationVariant,
    Combination,
    ConformalThresholds,
    EvidenceCalibration,
    EvidenceKind,
    EvidenceSet,
    FamilyRule,
    Options,
)
from lineup.fusion import (
    decisive_group,
    inseparable_members,
    limits_from_evidence,
    log_posterior_from_ratios,
    none_label,
)
from lineup.results import GENERATED, PHOTOGRAPH, Evidence, Verdict
from lineup.types import Float64Array

NOT_CALIBRATED = "not calibrated; `lineup calibrate` fits what its scores mean"
OTHER_OPTIONS = "not calibrated for these options; `lineup calibrate` fits what its scores mean"


Ratios = Mapping[str, Float64Array]
"""Log likelihood ratios per evidence, shape (N, K), or (N, 1) for `PHOTOGRAPH`; NaN is absent."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """Evidences with their ratios.

    Attributes:
        evidence: All of them, with log likelihood ratios.
        uncalibrated: Names of those with ratios by another rule.
        weighed: Names of those that the calibration weighs.
        variant: The calibration that applies; None when there is none.
    """

    evidence: tuple[Evidence, ...]
    uncalibrated: frozenset[str]
    weighed: EvidenceSet
    variant: CalibrationVariant | None


def verdict_from_scores(
    candidates: Sequence[str],
    evidence: Sequence[Evidence],
    *,
    calibration: Calibration | None = None,
    options: Mapping[str, Options] | None = None,
    families: Mapping[str, str] | None = None,
    caption: str | None = None,
    notes: Sequence[str] = (),
) -> Verdict:
    """Calibrate evidences, weigh them, and answer.

    Evidence that the calibration does not know, or knows with other options, keeps the ratios of
    its own rule, and a note in it says so; see `default_ratios` for one without a rule.

    Args:
        candidates: Every source that may be named.
        evidence: Raw scores; an evidence without any is absent, which never counts against a
            candidate.
        calibration: How scores become ratios; None when there is none.
        options: What each evidence was computed with.
        families: Name of the family per candidate, where it is known as it is now; a rule of the
            calibration for candidates that share a VAE no longer is not applied. None is known of
            any.
        caption: Kept in the verdict.
        notes: Kept in the verdict.
    """
    names = tuple(candidates)
    variant = None if calibration is None else calibration.variant(options or {})
    reading = _read(names, evidence, variant, options or {})
    fused = _fused(names, reading)
    logs = log_posterior_from_ratios(names, fused)
    posterior = {label: math.exp(value) for label, value in logs.items()}
    rules = _rules(names, reading, families)
    members = [rule.members for rule in rules.values()]
    group = decisive_group(posterior, names, members, evidence=reading.evidence)
    label = group[0] if group else none_label(posterior, limits_from_evidence(reading.evidence))
    rule = None if group is None else rules.get(frozenset(group))
    family = inseparable_members(posterior, group, rule.share) if group and rule else ()
    return Verdict(
        label=label,
        posterior=posterior,
        evidence=reading.evidence,
        family=family,
        candidates_set=_conformal_set(logs, reading, label),
        fused_llr={name: value for name, value in fused.items() if name != GENERATED or value},
        caption=caption,
        notes=(*notes, *_notes(names, reading, calibration, label)),
    )


def default_ratios(scores: Mapping[str, float]) -> dict[str, float]:
    """Return the ratios of an evidence that has neither a calibration nor a rule of its own.

    The published resynthesis methods report the softmax of their scores over the candidates, at
    unit temperature; here it is compared with an even chance. It ranks the candidates and says
    next to nothing on whether any of them made the image.
    """
    peak = max(scores.values())
    mean = sum(math.exp(value - peak) for value in scores.values()) / len(scores)
    return {name: value - peak - math.log(mean) for name, value in scores.items()}


def scores_from_evidence(evidence: Evidence) -> Mapping[str, float]:
    """Return what is calibrated: raw scores, or the ratios of an evidence that has nothing else."""
    return evidence.scores or evidence.llr


def fused_ratios(
    kinds: Mapping[str, EvidenceKind],
    ratios: Ratios,
    combinations_by_set: Mapping[EvidenceSet, Combination],
    candidates: int,
) -> Float64Array:
    """Weigh and add log likelihood ratios.

    Args:
        kinds: What each evidence speaks of.
        ratios: Of the evidences that take part.
        combinations_by_set: What was fitted.
        candidates: Their number, K.

    Returns:
        Shape (N, K + 2): candidates, generated, photograph; 0 where nothing speaks.
    """
    rows = len(next(iter(ratios.values())))
    fused = np.zeros((rows, candidates + 2))
    for chosen, combination in combinations_by_set.items():
        if not chosen <= set(ratios):
            continue
        applies = set_mask(chosen, ratios, kinds, candidates)
        for name in chosen:
            weighted = combination.weights[name] * np.nan_to_num(ratios[name])
            columns = label_columns(kinds[name], candidates)
            fused[:, columns] += np.where(applies[:, columns], weighted, 0.0)
        bias = np.zeros(candidates + 2)
        bias[:candidates], bias[-1] = combination.bias, combination.photograph_bias
        fused += np.where(applies, bias, 0.0)
    return fused


def conformal_set(
    log_posterior: Mapping[str, float], thresholds: ConformalThresholds, answer: str
) -> tuple[str, ...]:
    """Return the posterior keys that meet their threshold, most probable first.

    The answer, where it is a key, belongs to the set in any case, and so does the most probable key
    where none else does: that cannot lower the coverage, and no set is empty.
    """
    ranked = sorted(log_posterior, key=lambda key: -log_posterior[key])
    chosen = [key for key in ranked if log_posterior[key] >= thresholds.of(key) or key == answer]
    return tuple(chosen or ranked[:1])


def _read(
    candidates: tuple[str, ...],
    evidence: Sequence[Evidence],
    variant: CalibrationVariant | None,
    options: Mapping[str, Options],
) -> _Reading:
    fitting = frozenset() if variant is None else variant.fitting(options)
    read: list[Evidence] = []
    calibrated, uncalibrated = set(), set()
    for one in evidence:
        keys = [key for key, value in scores_from_evidence(one).items() if math.isfinite(value)]
        if variant is not None and one.name in fitting:
            read.append(_calibrated(one, variant.evidence[one.name], candidates))
            if read[-1].llr:
                calibrated.add(one.name)
        elif keys:
            other = variant is not None and one.name in variant.evidence
            note = OTHER_OPTIONS if other else NOT_CALIBRATED
            ratios = one.llr or default_ratios({key: one.scores[key] for key in keys})
            read.append(replace(one, llr=dict(ratios), notes=(*one.notes, note)))
            uncalibrated.add(one.name)
        else:
            read.append(one)
    weighed = frozenset(calibrated) if variant is None else _known_set(variant, calibrated)
    return _Reading(tuple(read), frozenset(uncalibrated), weighed, variant)


def _calibrated(
    evidence: Evidence, calibration: EvidenceCalibration, candidates: tuple[str, ...]
) -> Evidence:
    """Return the evidence with the calibration's ratios."""
    keys = candidates if calibration.kind is EvidenceKind.CANDIDATES else (PHOTOGRAPH,)
    raw = scores_from_evidence(evidence)
    values = np.array([[raw.get(key, np.nan) for key in keys]], np.float64)
    values[~np.isfinite(values)] = np.nan
    ratios = calibration.llrs(values, keys)[0].tolist()
    present = {key: ratio for key, ratio in zip(keys, ratios, strict=True) if not math.isnan(ratio)}
    return replace(evidence, llr=present)


def _known_set(variant: CalibrationVariant, calibrated: set[str]) -> EvidenceSet:
    """Return the evidences at hand or, where no weights exist for them together, the most of them.

    That happens when no calibration query had them all.
    """
    usable = [one for one in variant.by_set if one <= calibrated]
    return max(usable, key=lambda one: (len(one), sorted(one)), default=frozenset())


def _fused(candidates: tuple[str, ...], reading: _Reading) -> dict[str, float]:
    """Return the log likelihood ratio per label: weighed where calibrated, else added."""
    labels = (*candidates, GENERATED, PHOTOGRAPH)
    fused = dict.fromkeys(labels, 0.0)
    ratios, kinds = {}, {}
    for one in reading.evidence:
        if one.name in reading.uncalibrated:
            for label in labels:
                fused[label] += one.llr.get(label, 0.0)
        elif one.name in reading.weighed and reading.variant is not None:
            kinds[one.name] = reading.variant.evidence[one.name].kind
            keys = candidates if kinds[one.name] is EvidenceKind.CANDIDATES else (PHOTOGRAPH,)
            ratios[one.name] = np.array([[one.llr.get(key, np.nan) for key in keys]])
    if ratios and reading.variant is not None:
        weighed = fused_ratios(kinds, ratios, reading.variant.by_set, len(candidates))[0].tolist()
        for label, value in zip(labels, weighed, strict=True):
            fused[label] += value
    return fused


def _rules(
    candidates: tuple[str, ...], reading: _Reading, families: Mapping[str, str] | None
) -> dict[frozenset[str], FamilyRule]:
    """Return the rule per family, by its members; none without a calibration."""
    if reading.variant is None or not reading.weighed:
        return {}
    families = families or {}
    rules = reading.variant.by_set[reading.weighed].families.values()
    return {
        frozenset(rule.members): rule
        for rule in rules
        if set(rule.members) <= set(candidates)
        and len({families[name] for name in rule.members if name in families}) <= 1
    }


def _conformal_set(logs: Mapping[str, float], reading: _Reading, label: str) -> tuple[str, ...]:
    """Return the set; empty where the posterior is not the one that it was calibrated for."""
    if reading.variant is None or not reading.weighed or reading.uncalibrated:
        return ()
    return conformal_set(logs, reading.variant.by_set[reading.weighed].thresholds, label)


def _notes(
    candidates: tuple[str, ...], reading: _Reading, calibration: Calibration | None, label: str
) -> list[str]:
    notes = []
    if reading.uncalibrated:
        notes.append(f"not calibrated: {', '.join(sorted(reading.uncalibrated))}")
    unused = {one.name for one in reading.evidence if one.llr}
    unused -= reading.uncalibrated | reading.weighed
    if unused:
        notes.append(
            f"left out, as the calibration never saw it together with the others: "
            f"{', '.join(sorted(unused))}"
        )
    new = calibration is not None and not calibration.counts.get(label)
    if new and reading.weighed and label in candidates:
        notes.append(f"no calibration images of {label}: judged as the other candidates are")
    return notes


def set_mask(
    chosen: EvidenceSet,
    ratios: Ratios,
    kinds: Mapping[str, EvidenceKind],
    candidates: int,
) -> npt.NDArray[np.bool_]:
    """Return where a set is exactly what a label has evidence of, shape (N, K + 2).

    Candidates are judged with the evidences on candidates that they have, photographs with those
    on photographs; a set of both kinds is at hand for either when all of the other kind are.
    """
    rows = len(next(iter(ratios.values())))
    own = np.ones((rows, candidates + 2), bool)
    speaks = np.zeros((rows, candidates + 2), bool)
    for name, values in ratios.items():
        present: npt.NDArray[np.bool_] = ~np.isnan(values)
        columns = label_columns(kinds[name], candidates)
        own[:, columns] &= present if name in chosen else ~present
        if name in chosen:
            speaks[:, columns] = True
        other = np.setdiff1d(np.arange(candidates + 2), columns)
        anywhere = np.any(present, axis=1, keepdims=True)
        own[:, other] &= anywhere if name in chosen else ~anywhere
    applied: npt.NDArray[np.bool_] = own & speaks
    return applied


def label_columns(kind: EvidenceKind, candidates: int) -> npt.NDArray[np.intp]:
    """Return the columns of (candidates, generated, photograph) that a kind speaks for."""
    if kind is EvidenceKind.PHOTOGRAPH:
        return np.array([candidates + 1])
    return np.arange(candidates)
