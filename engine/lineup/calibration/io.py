"""Calibrations on disk: one JSON document, checked against a schema when it is read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from lineup import files
from lineup.bundles.schema import schema_problem
from lineup.calibration.calibration import (
    FEATURES,
    SCHEMA_VERSION,
    Calibration,
    CalibrationVariant,
    Combination,
    ConformalThresholds,
    EvidenceCalibration,
    EvidenceKind,
    FamilyRule,
    SetCalibration,
    Sharing,
    Spread,
)
from lineup.errors import CalibrationError

SCHEMA_PATH = Path(__file__).with_name("calibration.schema.json")
METHOD = "logistic"
MAX_BYTES = 16 * 2**20
"""Far above any real calibration; a larger file is not read into memory."""

_HINT = "Fit it again with lineup calibrate."


@cache
def calibration_schema() -> Mapping[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a calibration."""
    schema: Mapping[str, Any] = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    return schema


def read_calibration(path: Path) -> Calibration:
    """Read and check a calibration.

    Raises:
        CalibrationError: The file cannot be read, is no calibration, was written by a newer
            lineup, or a field is missing, unknown or wrong; names the file and the field.
    """
    try:
        size_bytes = path.stat().st_size
        if size_bytes > MAX_BYTES:
            raise CalibrationError(
                f"{path}: {size_bytes} bytes, expected at most {MAX_BYTES} in a calibration.",
                hint=_HINT,
            )
        raw = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        hint = "`lineup calibrate` makes it." if isinstance(error, FileNotFoundError) else None
        raise CalibrationError(
            f"{path}: cannot be read: {error.strerror or error}", hint=hint
        ) from error
    except (ValueError, RecursionError) as error:
        raise CalibrationError(f"{path}: not JSON: {error}", hint=_HINT) from error
    return calibration_from_dict(raw, where=str(path))


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write a calibration, whole or not at all.

    Raises:
        CalibrationError: The file cannot be written.
    """
    text = json.dumps(dict_from_calibration(calibration), indent=1, allow_nan=False) + "\n"
    try:
        files.write_atomic(path, text.encode())
    except OSError as error:
        raise CalibrationError(
            f"Cannot write {path}: {error.strerror or error}.",
            hint="Give a file in a folder that can be written to.",
        ) from error


def dict_from_calibration(calibration: Calibration) -> dict[str, Any]:
    """Return the calibration as JSON values."""
    return {
        "schema_version": SCHEMA_VERSION,
        "lineup": calibration.lineup,
        "candidates": list(calibration.candidates),
        "level": calibration.level,
        "family_level": calibration.family_level,
        "created": calibration.created,
        "version": calibration.version,
        "seed": calibration.seed,
        "folds": calibration.folds,
        "counts": dict(calibration.counts),
        "variants": [_dict_from_variant(one) for one in calibration.variants],
    }


def calibration_from_dict(raw: object, *, where: str = "calibration") -> Calibration:
    """Return the calibration that parsed JSON holds.

    Args:
        raw: The parsed JSON.
        where: File to name in errors.

    Raises:
        CalibrationError: See `read_calibration`.
    """
    if not isinstance(raw, Mapping):
        raise CalibrationError(f"{where}: expected a JSON object, got {type(raw).__name__}.")
    version = raw.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise CalibrationError(
            f"{where}: schema_version is {version}, but this lineup reads up to {SCHEMA_VERSION}.",
            hint="It was written by a newer lineup. Upgrade: pip install --upgrade lineup",
        )
    problem = schema_problem(raw, calibration_schema())
    if problem is not None:
        raise CalibrationError(f"{where}: {problem}", hint=_HINT)
    calibration = Calibration(
        lineup=raw["lineup"],
        candidates=tuple(raw["candidates"]),
        level=raw["level"],
        family_level=raw["family_level"],
        created=raw["created"],
        version=raw["version"],
        seed=raw["seed"],
        folds=raw["folds"],
        counts=raw["counts"],
        variants=tuple(_variant_from_checked(one) for one in raw["variants"]),
    )
    for index, variant in enumerate(calibration.variants):
        problem = _contradiction(variant)
        if problem is not None:
            raise CalibrationError(f"{where}: variants[{index}].{problem}", hint=_HINT)
    return calibration


def _dict_from_variant(variant: CalibrationVariant) -> dict[str, Any]:
    return {
        "evidence": {
            name: {
                "method": METHOD,
                "kind": one.kind.value,
                "options": dict(variant.options[name]),
                "sharing": one.sharing.value,
                "shared": asdict(one.shared),
                "spreads": {key: asdict(spread) for key, spread in one.spreads.items()},
                "coefficients": dict(one.coefficients),
                "intercept": one.intercept,
                "limit": one.limit,
                "counts": dict(one.counts),
            }
            for name, one in variant.evidence.items()
        },
        "sets": [_dict_from_set(one) for one in variant.sets.values()],
    }


def _dict_from_set(one: SetCalibration) -> dict[str, Any]:
    return {
        "weights": dict(one.combination.weights),
        "bias": one.combination.bias,
        "real_bias": one.combination.real_bias,
        "thresholds": {key: _number(value) for key, value in asdict(one.thresholds).items()},
        "families": {
            family: {
                "members": list(rule.members),
                "share": rule.share,
                "queries": rule.queries,
                "accuracy": _number(rule.accuracy),
            }
            for family, rule in one.families.items()
        },
        "figures": {key: _number(value) for key, value in one.figures.items()},
    }


def _variant_from_checked(raw: Mapping[str, Any]) -> CalibrationVariant:
    sets = [_set_from_checked(one) for one in raw["sets"]]
    return CalibrationVariant(
        options={name: one["options"] for name, one in raw["evidence"].items()},
        evidence={
            name: EvidenceCalibration(
                kind=EvidenceKind(one["kind"]),
                sharing=Sharing(one["sharing"]),
                shared=Spread(**one["shared"]),
                spreads={key: Spread(**spread) for key, spread in one["spreads"].items()},
                coefficients=one["coefficients"],
                intercept=one["intercept"],
                limit=one["limit"],
                counts=one["counts"],
            )
            for name, one in raw["evidence"].items()
        },
        sets={frozenset(one.combination.weights): one for one in sets},
    )


def _set_from_checked(raw: Mapping[str, Any]) -> SetCalibration:
    thresholds = {
        key: -math.inf if value is None else value for key, value in raw["thresholds"].items()
    }
    return SetCalibration(
        combination=Combination(raw["weights"], raw["bias"], raw["real_bias"]),
        thresholds=ConformalThresholds(**thresholds),
        families={
            family: FamilyRule(
                members=tuple(rule["members"]),
                share=rule["share"],
                queries=rule["queries"],
                accuracy=math.nan if rule["accuracy"] is None else rule["accuracy"],
            )
            for family, rule in raw["families"].items()
        },
        figures={
            key: math.nan if value is None else value for key, value in raw["figures"].items()
        },
    )


def _contradiction(variant: CalibrationVariant) -> str | None:
    """Return what the schema cannot express; None if all fits."""
    for name, one in variant.evidence.items():
        expected = FEATURES[one.kind]
        if set(one.coefficients) != set(expected):
            found = ", ".join(sorted(one.coefficients))
            return f"evidence.{name}.coefficients: expected {', '.join(expected)}, got {found}"
    for index, chosen in enumerate(variant.sets):
        unknown = sorted(chosen - set(variant.evidence))
        if unknown:
            return f"sets[{index}].weights: {unknown[0]!r} is not among evidence"
    return None


def _number(value: float) -> float | None:
    # JSON has no NaN and no infinity.
    return value if math.isfinite(value) else None


def _refuse_constant(text: str) -> None:
    """Refuse NaN and Infinity, which Python's parser takes although JSON has neither."""
    raise ValueError(f"{text} is not a JSON number")
