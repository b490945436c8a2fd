import json

import pytest

from lineup.calibration.calibration import (
    CALIBRATION,
    Calibration,
    CalibrationVariant,
    ConformalThresholds,
    EvidenceCalibration,
    EvidenceKind,
    FamilyRule,
    SetCalibration,
    Sharing,
    Spread,
)
from lineup.errors import CalibrationError
from lineup.paths import shipped_dir


@pytest.fixture
def calibration():
    evidence = EvidenceCalibration(
        kind=EvidenceKind.CANDIDATES,
        sharing=Sharing.PER_CANDIDATE,
        shared=Spread(0.5, 0.1),
        spreads={"ash": Spread(0.4, 0.2)},
        coefficients={"level": 1.0, "above_mean": 2.0, "above_best": 0.0},
        intercept=-1.5,
        limit=5.5,
        counts={"ash": 20, "generated": 20, "photograph": 0},
        options={"gamma": 4, "distance": "cosine", "layer": None},
    )
    known = SetCalibration(
        weights={"resynthesis": 0.9},
        bias=0.1,
        photograph_bias=0.0,
        thresholds=ConformalThresholds(-1.0, -2.0, None),
        families={"vae-1": FamilyRule(("ash", "birch"), 0.8, 40, 0.9)},
        figures={"accuracy": 0.95, "ece": None},
    )
    variant = CalibrationVariant(
        evidence={"resynthesis": evidence},
        sets=(known,),
    )
    return Calibration(
        lineup="pocket",
        candidates=("ash", "birch"),
        level=0.9,
        family_level=0.85,
        created="2026-01-31",
        version="0.1.0",
        seed=3,
        folds=5,
        counts={"ash": 20, "birch": 20, "generated": 20, "photograph": 0},
        variants=(variant,),
    )


def test_what_is_written_is_read(calibration, tmp_path):
    path = tmp_path / "new" / "calibration.json"

    CALIBRATION.write(path, calibration)

    assert CALIBRATION.read(path) == calibration
    assert "NaN" not in path.read_text()
    assert "Infinity" not in path.read_text()


def damaged(raw, path, value):
    *parents, last = path
    for key in parents:
        raw = raw[key]
    if value is None:
        del raw[last]
    else:
        raw[last] = value


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (["level"], 1.5, "level"),
        (["schema_version"], 1, "schema_version: expected 2, got 1"),
        (["counts"], None, "counts: missing"),
        (["extra"], 1, "extra: unknown field"),
        (["variants", 0, "evidence", "resynthesis", "method"], "magic", "method"),
        (["variants", 0, "evidence", "resynthesis", "shared", "scale"], 0, "shared.scale"),
        (["variants", 0, "evidence", "resynthesis", "coefficients", "level"], -1, "level"),
        (["variants", 0, "evidence", "resynthesis", "coefficients"], {"level": 1}, "above_mean"),
        (["variants", 0, "sets", 0, "weights"], {"other": 1}, "'other' is not among evidence"),
        (["variants", 0, "sets", 0, "thresholds", "photograph"], "low", "photograph"),
    ],
)
def test_a_wrong_field_is_named(calibration, path, value, problem):
    raw = json.loads(json.dumps(CALIBRATION.to_raw(calibration)))
    damaged(raw, path, value)

    with pytest.raises(CalibrationError, match=problem):
        CALIBRATION.from_raw(raw, where="calibration.json")


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"schema_version": NaN}'])
def test_a_foreign_file_is_refused(tmp_path, text):
    path = tmp_path / "calibration.json"
    path.write_text(text)

    with pytest.raises(CalibrationError, match=r"calibration\.json"):
        CALIBRATION.read(path)


def test_a_newer_and_an_absent_file_say_what_to_do(calibration, tmp_path):
    raw = CALIBRATION.to_raw(calibration) | {"schema_version": 99, "news": True}

    with pytest.raises(CalibrationError, match="newer lineup"):
        CALIBRATION.from_raw(raw, where="calibration.json")
    with pytest.raises(CalibrationError, match="cannot be read"):
        CALIBRATION.read(tmp_path / "absent.json")


def test_a_folder_that_cannot_be_written_is_named(calibration, tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(CalibrationError, match="cannot be written"):
        CALIBRATION.write(tmp_path / "file" / "calibration.json", calibration)


def test_the_shipped_calibration_is_read_as_it_was_written():
    path = shipped_dir() / "lineups" / "pocket" / "calibration.json"
    known = CALIBRATION.read(path)
    raw = json.loads(path.read_text())
    del raw["sha256"]
    assert CALIBRATION.to_raw(known) == raw
    assert all(set(one.weights) <= set(v.evidence) for v in known.variants for one in v.sets)
