"""Real against generated: figures, and which files take part."""

import cv2
import numpy as np
import pytest

from lineup.errors import UsageError
from lineup_lab.dataset import ProtocolOptions, SourceFolder
from lineup_lab.real import generators_from_names, real_result_from_llrs, scored_sources

OPTIONS = ProtocolOptions(real=("photographs",), resamples=200)


class Cutter:
    def tiles(self, pixels):
        return pixels[None]

    def notes(self, pixels):
        return ()


def brightness(tiles):
    return np.array([one.mean() for one in tiles], np.float32)


def write(path, level):
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), np.full((4, 4, 3), level, np.uint8))
    return path


def test_each_generator_counts_the_same():
    llrs = {
        "photographs": np.array([1.0, 2.0, 3.0, 4.0]),
        "easy": np.array([-1.0, -2.0]),
        "even": np.array([1.0, 2.0, 3.0, 4.0] * 5),
    }
    result = real_result_from_llrs(llrs, OPTIONS)

    assert result["sources"]["easy"]["auc"] == 100
    assert result["sources"]["even"]["auc"] == 50
    assert result["auc_mean"] == 75
    assert result["auc_ci"][0] < 75 < result["auc_ci"][1]
    assert result["sources"]["even"]["called_real"] == 100
    assert result["photographs"]["called_generated"] == 0
    assert result["photographs"]["images"] == 4


def test_several_sources_of_photographs_are_one_class():
    options = ProtocolOptions(real=("a", "b"), resamples=200)
    result = real_result_from_llrs(
        {"a": np.array([1.0]), "b": np.array([-1.0]), "c": np.array([0.0])}, options
    )

    assert result["sources"]["c"]["auc"] == 50
    assert result["photographs"]["called_generated"] == 50


@pytest.mark.parametrize(("scale", "cost"), [(0.0, 1.0), (50.0, 0.0)])
def test_cost_of_ratios_is_known_at_both_ends(scale, cost):
    llrs = {"photographs": scale * np.ones(3), "g": -scale * np.ones(3)}

    assert real_result_from_llrs(llrs, OPTIONS)["cllr_bits"] == pytest.approx(cost)


def test_misleading_ratios_cost_more_than_none():
    llrs = {"photographs": -np.ones(3), "g": np.ones(3)}

    assert real_result_from_llrs(llrs, OPTIONS)["cllr_bits"] > 1


@pytest.mark.parametrize(
    ("real", "message"),
    [((), "No source of photographs"), (("x",), "'x' is not among"), (("a", "b"), "Every source")],
)
def test_wrong_names_are_refused(real, message):
    with pytest.raises(UsageError, match=message):
        generators_from_names(["a", "b"], real)


def test_equal_files_count_once_and_broken_ones_are_told(tmp_path):
    broken = tmp_path / "g" / "broken.png"
    first = write(tmp_path / "g" / "a.png", 10)
    broken.write_bytes(b"nothing")
    again = write(tmp_path / "photographs" / "a.png", 10)
    other = write(tmp_path / "photographs" / "b.png", 200)
    folders = [SourceFolder("g", (first, broken)), SourceFolder("photographs", (again, other))]
    seen = []
    scored = scored_sources(folders, Cutter(), brightness, on_file=seen.append)

    assert scored.llrs["g"].tolist() == [10]
    assert scored.llrs["photographs"].tolist() == [200]
    assert [file.path for file in scored.failures] == [broken]
    assert scored.duplicates == 1
    assert len(seen) == 4


def test_a_source_without_images_is_an_error(tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")

    with pytest.raises(UsageError, match="No image of source 'g'"):
        scored_sources([SourceFolder("g", (broken,))], Cutter(), brightness)
