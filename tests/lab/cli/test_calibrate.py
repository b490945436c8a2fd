"""`lineup calibrate` and `lineup eval attribution`, from images to figures, with toy models."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from lineup.calibration.calibration import CALIBRATION
from lineup.errors import CalibrationError, UsageError
from lineup.lineups import models as models_module
from lineup.lineups.models import ResynthesisModels
from lineup.lineups.spec import CandidateSpec, LineupSpec
from lineup.lineups.store import create_lineup, open_lineup
from lineup.resynthesis.making import ModelSource
from lineup.resynthesis.resynthesizer import Resynthesizer
from lineup_lab.cli.calibrate import calibrate
from lineup_lab.cli.eval import evaluate

pytestmark = pytest.mark.usefixtures("colour_engine")

COLOURS = {"reds": (230, 40, 40), "blues": (40, 40, 230), "elm": (40, 230, 40), "real": (130,) * 3}
PER_SOURCE = 8


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("LINEUP_HOME", str(tmp_path / "home"))


@pytest.fixture
def captioner(monkeypatch, toy_generators, toy_captioner, toy_encoder):
    """That of the lineups "toy" and "raw", whose models are opened without any bundle."""
    candidates = (CandidateSpec("reds", "r"), CandidateSpec("blues", "b"))
    spec = LineupSpec("raw", captioner="c", encoder="e", candidates=candidates)
    create_lineup(spec)
    create_lineup(replace(spec, name="toy", calibration="calibration.json"))

    def models(lineup, fingerprinter, **options):
        resynthesizer = Resynthesizer(
            ModelSource.kept(toy_generators, toy_captioner, toy_encoder),
            fingerprinter=fingerprinter,
        )
        return ResynthesisModels(resynthesizer, families={"reds": "vae", "blues": "vae"})

    monkeypatch.setattr(models_module, "open_resynthesis_models", models)
    return toy_captioner


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        for number in range(PER_SOURCE):
            pixels = np.clip(np.array(colour) + rng.normal(0, 14, (32, 32, 3)), 0, 255)
            cv2.imwrite(str(folder / f"{number}.png"), pixels[..., ::-1].astype(np.uint8))
    return tmp_path / "images"


def calibrated(*arguments):
    return CliRunner().invoke(calibrate, ["--folds", "2", *map(str, arguments)])


def evaluated(*arguments):
    fixed = ["attribution", "--bootstrap", "100", "--unknown", "elm"]
    return CliRunner().invoke(evaluate, [*fixed, *map(str, arguments)])


@pytest.fixture
def home_calibration(tmp_path):
    return tmp_path / "home" / "lineups" / "toy" / "calibration.json"


def test_calibrate_writes_what_the_lineup_then_uses(root, captioner, home_calibration, tmp_path):
    result = calibrated(root, "--lineup", "toy")

    assert result.exit_code == 0, result.output
    assert "Held-out figures" in result.stdout
    calibration = CALIBRATION.read(home_calibration)
    assert calibration.counts == {"reds": 8, "blues": 8, "generated": 8, "photograph": 8}
    assert [one.evidence["resynthesis"].options["gamma"] for one in calibration.variants] == [
        1,
        2,
        4,
    ]
    report = tmp_path / "figures.json"
    evaluation = evaluated(root, "--lineup", "toy", "-o", report)
    assert evaluation.exit_code == 0, evaluation.output
    figures = json.loads(report.read_text())
    assert figures["calibrated"] is True
    assert figures["accuracy"] == 100
    assert figures["reported"]["coverage"] >= 90
    assert figures["confusion"]["elm"]["reds"] == figures["confusion"]["elm"]["blues"] == 0


def test_a_lineup_that_names_no_calibration_gets_one_and_keeps_its_comments(
    root, captioner, tmp_path
):
    folder = tmp_path / "home" / "lineups" / "raw"
    commented = "# Ours, since May.\n" + (folder / "lineup.toml").read_text()
    (folder / "lineup.toml").write_text(commented)

    result = calibrated(root, "--lineup", "raw", "--gamma", "1")

    assert result.exit_code == 0, result.output
    lineup = open_lineup("raw")
    assert lineup.calibration == folder / "calibration.json"
    assert CALIBRATION.read(lineup.calibration).lineup == "raw"
    text = (folder / "lineup.toml").read_text()
    assert text.replace('calibration = "calibration.json"\n', "") == commented


def test_a_lineup_of_gallery_candidates_alone_is_calibrated_by_fingerprints(root, tmp_path):
    create_lineup(LineupSpec("alone", candidates=(CandidateSpec("reds"), CandidateSpec("blues"))))

    result = calibrated(root, "--lineup", "alone")

    assert result.exit_code == 0, result.output
    calibration = CALIBRATION.read(open_lineup("alone").calibration)
    assert [list(one.evidence) for one in calibration.variants] == [["fingerprint"]]
    report = tmp_path / "figures.json"
    result = evaluated(root, "--lineup", "alone", "-o", report)
    assert result.exit_code == 0, result.output
    assert json.loads(report.read_text())["calibrated"] is True


def test_a_lineup_of_the_package_is_refused_before_any_work(root, captioner):
    result = calibrated(root, "--lineup", "gallery")

    assert isinstance(result.exception, UsageError)
    assert "comes with the package" in result.exception.message
    assert "lineups create" in result.exception.hint
    assert captioner.calls == 0


def test_a_second_fit_needs_no_model(root, captioner, home_calibration):
    calibrated(root, "--lineup", "toy")
    first, calls = home_calibration.read_text(), captioner.calls

    again = calibrated(root, "--lineup", "toy")

    assert again.exit_code == 0, again.output
    assert captioner.calls == calls == len(COLOURS) * PER_SOURCE
    assert home_calibration.read_text() == first


def test_known_prompts_spare_the_captioner(root, captioner, tmp_path):
    prompts = {f"{name}/{n}.png": f"dot {n}" for name in COLOURS for n in range(PER_SOURCE)}
    (root / "prompts.json").write_text(json.dumps(prompts))

    result = calibrated(
        root, "--lineup", "toy", "--known-prompts", "-o", tmp_path / "c.json", "--gamma", "1"
    )

    assert result.exit_code == 0, result.output
    assert captioner.calls == 0
    assert len(CALIBRATION.read(tmp_path / "c.json").variants) == 1


def test_evaluation_by_all_procedures_with_a_sweep_and_a_plot(root, captioner, tmp_path):
    pytest.importorskip("matplotlib")
    report, plot = tmp_path / "figures.json", tmp_path / "sweep.png"

    result = evaluated(
        root, "--lineup", "raw", "--mode", "default", "--mode", "resynthesis",
        "--mode", "regeneration", "--gamma", "1,2", "--plot", plot, "-o", report,
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    figures = json.loads(report.read_text())
    assert list(figures["modes"]) == ["default", "resynthesis", "regeneration"]
    assert figures["modes"]["default"]["accuracy"] == figures["accuracy"] == 100
    assert figures["modes"]["resynthesis"]["reported"]["rejected"] == 0
    assert [one["gamma"] for one in figures["sweep"]] == [1, 2]
    assert figures["calibrated"] is False
    assert figures["cost"]["stages"]["caption"]["calls"] == 1
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "By procedure" in result.stdout
    rows = (tmp_path / "figures.scores.jsonl").read_text().splitlines()
    assert len(rows) == 3 * len(COLOURS) * PER_SOURCE
    calls = captioner.calls
    assert evaluated(root, "--lineup", "raw", "--gamma", "1,2", "-o", report).exit_code == 0
    assert captioner.calls == calls


def test_evidence_and_images_can_be_limited(root, captioner, tmp_path):
    report = tmp_path / "figures.json"

    result = evaluated(
        root, "--lineup", "raw", "--evidence", "fingerprint", "--limit", "3", "-o", report
    )

    assert result.exit_code == 0, result.output
    figures = json.loads(report.read_text())
    assert figures["n"] == 12
    assert list(figures["evidence"]) == ["fingerprint"]
    assert captioner.calls == 0


def test_unreadable_images_are_named_and_end_in_exit_code_1(root, captioner, tmp_path):
    (root / "reds" / "0.png").write_bytes(b"nothing")

    result = calibrated(root, "--lineup", "toy", "-o", tmp_path / "c.json", "--gamma", "1")

    assert result.exit_code == 1
    assert "0.png" in result.stderr
    assert CALIBRATION.read(tmp_path / "c.json").counts["reds"] == PER_SOURCE - 1


@pytest.mark.parametrize(
    ("arguments", "error", "problem"),
    [
        (["--gamma", "0,2"], UsageError, "no list of numbers"),
        (["--lineup", "gallery"], UsageError, "comes with the package"),
        (["--lineup", "toy", "--limit", "3"], CalibrationError, "expected at least 5"),
    ],
)
def test_mistakes_of_a_calibration_are_named(root, captioner, arguments, error, problem):
    result = calibrated(root, *arguments)

    assert isinstance(result.exception, error)
    assert problem in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--plot", "sweep.png"], "--plot compares numbers of resyntheses"),
        (["--unknown", "fir"], "'fir' is not among the sources"),
        (["--unknown", "elm,reds"], "'reds' is reds and generated"),
    ],
)
def test_mistakes_of_an_evaluation_are_named(root, captioner, arguments, problem):
    result = evaluated(root, "--lineup", "raw", *arguments)

    assert isinstance(result.exception, UsageError)
    assert problem in str(result.exception)
