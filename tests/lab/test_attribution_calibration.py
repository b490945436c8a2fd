import numpy as np
import pytest

from lineup.options import ResynthesisOptions
from lineup.results import GENERATED, PHOTOGRAPH, Evidence
from lineup_lab.attribution import Judge, calibration_roles
from lineup_lab.fit_calibration import FitOptions, calibration_from_rows
from lineup_lab.scores import RawScores

NAMES = ("a", "b")
GAMMA = 4


def rows(per_source):
    """Every resynthesis by the maker is a little closer; more of them tell it better."""
    rng = np.random.default_rng(0)
    found = []
    for source in (*NAMES, "elm", "real"):
        for number in range(per_source):
            samples = {
                name: tuple(rng.normal(2.0 * (name == source), 1.0, GAMMA)) for name in NAMES
            }
            scores = {name: max(values) for name, values in samples.items()}
            evidence = (
                Evidence("resynthesis", scores, {}, 1.0, samples=samples),
                Evidence(PHOTOGRAPH, {}, {PHOTOGRAPH: rng.normal(6.0 * (source == "real"))}, 0.0),
            )
            found.append(
                RawScores(f"{source}/{number}.png", source, "r", f"{source}{number}", evidence)
            )
    return found


@pytest.fixture(scope="module")
def calibration():
    judge = Judge(
        candidates=NAMES,
        settings=ResynthesisOptions(gamma=GAMMA),
        evidence_options=lambda settings: {"resynthesis": {"gamma": settings.gamma}},
        families={"a": "vae", "b": "vae"},
    )
    roles = calibration_roles([*NAMES, "elm", "real"], NAMES, [])
    told = []
    fitted = calibration_from_rows(
        rows(40),
        roles,
        judge,
        [1, GAMMA],
        lineup="toy",
        options=FitOptions(folds=3),
        groups={"a/0.png": "one dot", "b/0.png": "one dot"},
        on_gamma=told.append,
    )
    assert told == [1, GAMMA]
    return fitted


def test_roles_follow_from_the_names_of_the_folders():
    roles = calibration_roles(["a", "elm", "real", "photos"], NAMES, ["photos"])

    assert roles == {"a": "a", "elm": GENERATED, "real": PHOTOGRAPH, "photos": PHOTOGRAPH}


def test_every_number_of_resyntheses_has_its_variant(calibration):
    one, four = (calibration.variant({"resynthesis": {"gamma": gamma}}) for gamma in (1, GAMMA))

    resynthesis = frozenset({"resynthesis"})
    assert one.evidence["resynthesis"].options == {"gamma": 1}
    assert four.evidence["resynthesis"].options == {"gamma": GAMMA}
    assert (
        four.by_set[resynthesis].figures["accuracy"] > one.by_set[resynthesis].figures["accuracy"]
    )
    assert calibration.counts == {"a": 40, "b": 40, GENERATED: 40, PHOTOGRAPH: 40}
    assert (calibration.lineup, calibration.candidates) == ("toy", NAMES)


def test_held_out_figures_and_families_are_kept(calibration):
    both = calibration.variants[-1].by_set[frozenset({"resynthesis", PHOTOGRAPH})]

    assert both.figures["queries"] == 160
    assert 0 <= both.figures["ece"] < 0.12
    assert both.families["vae"].members == NAMES


def test_an_evidence_without_options_holds_for_every_variant(calibration):
    assert calibration.variant({}).fitting({}) == {PHOTOGRAPH}
    assert calibration.variant({"resynthesis": {"gamma": 9}}).fitting({}) == {PHOTOGRAPH}
