"""The head that tells photographs from generated images, on drawn features."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from lineup.errors import UsageError
from lineup.gallery.opening import shipped_others
from lineup.reference import PHOTOGRAPH_FILE, photograph_path
from lineup_models import photograph_head
from lineup_models.outside import PARTS
from lineup_models.photograph_head import (
    VIEWS,
    Samples,
    head_from_samples,
    samples_from_folders,
)

COLLECTIONS, GENERATORS, IMAGES, FEATURES = 3, 4, 40, 20


def drawn_samples(*, collections=COLLECTIONS, generators=GENERATORS, apart=3.0, seed=0):
    """Features in which photographs differ along one axis, and every folder along others."""
    rng = np.random.default_rng(seed)
    rows, marks = [], []
    for group in range(collections + generators):
        is_photograph = group < collections
        centre = rng.normal(0, 1, FEATURES)
        centre[0] = apart if is_photograph else -apart
        for view in range(len(VIEWS)):
            rows.append(centre + rng.normal(0, 1, (IMAGES, FEATURES)))
            marks += [(group * IMAGES + at, group, view, is_photograph) for at in range(IMAGES)]
    table = np.array(marks, np.float64)
    names = tuple(f"folder-{group}" for group in range(collections + generators))
    stacked = np.concatenate(rows).astype(np.float32)
    return Samples(stacked, (FEATURES,), *table.T, names=names)


def ratios_of(head, samples):
    """What a head says that reads no fingerprint."""
    return head.llrs([samples.rows[:, :12], samples.rows[:, 12:]], np.ones((len(samples.rows), 1)))


def test_a_head_tells_what_no_fit_has_seen():
    samples = drawn_samples()

    head, worth = head_from_samples(samples, "tower", "fingerprint")

    assert worth["auc clean"] > 95
    assert worth["caught drawn"] > 50
    ratios = ratios_of(head, samples)
    assert (
        ratios[samples.is_photograph > 0].mean() > 1 > -1 > ratios[samples.is_photograph < 1].mean()
    )
    assert head.record.limit == pytest.approx(np.log(2 + COLLECTIONS * IMAGES))
    assert np.abs(ratios).max() <= head.record.limit + 1e-6
    assert (head.record.photographs, head.record.generated) == (
        COLLECTIONS * IMAGES,
        GENERATORS * IMAGES,
    )
    assert len(head.photographs) == COLLECTIONS * IMAGES * len(VIEWS)
    assert head.photographs.mean() > 0 > head.generated.mean()


def test_what_the_runtime_does_not_judge_is_not_looked_at(tmp_path):
    class Encoder:
        def features_of_layers(self, images, layers):
            return (np.ones((len(images), 2), np.float32),)

    class Extractor:
        parts = (3, 4)

        def fingerprints(self, images):
            return np.full((len(images), 7), 7**-0.5, np.float32)

    textured = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    textured = cv2.resize(textured, (64, 64))
    for name, pixels in (("seen", textured), ("black", np.zeros_like(textured))):
        for folder in ("camera", "maker"):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f"{name}.png"), pixels)

    folders = [tmp_path / "camera"], [tmp_path / "maker"]
    samples = samples_from_folders(*folders, Encoder(), Extractor(), held_out=0)

    assert samples.parts == (2, 4)
    np.testing.assert_array_equal(samples.rows[0], [1, 1, 0.5, 0.5, 0.5, 0.5])
    assert len(np.unique(samples.image)) == 2
    assert sorted(np.unique(samples.group)) == [0, 1]


def test_where_nothing_tells_nothing_is_claimed_of_other_folders():
    head, worth = head_from_samples(drawn_samples(apart=0.0), "tower", "fingerprint")

    assert abs(worth["auc clean"] - 50) < 25
    assert np.abs(ratios_of(head, drawn_samples(apart=0.0, seed=1))).mean() < 0.7


def test_versions_of_a_generator_are_left_out_together(monkeypatch):
    names = ("camera", "web", "scans", "sdxl", "sdxl_turbo", "mj52", "sd15")
    samples = dataclasses.replace(drawn_samples(), names=names)
    fit, fitted = photograph_head._fit, []

    def seen(samples, chosen):
        fitted.append({names[int(group)] for group in samples.group[chosen]})
        return fit(samples, chosen)

    monkeypatch.setattr(photograph_head, "_fit", seen)
    head_from_samples(samples, "tower", "fingerprint")

    *left_out, whole = fitted
    assert whole == set(names)
    assert len(left_out) == 3
    assert all(len(names) - len(one) == 2 + ("sdxl" not in one) for one in left_out)
    assert all(("sdxl" in one) == ("sdxl_turbo" in one) for one in left_out)


def test_a_short_part_weighs_as_much_as_a_long_one():
    samples = drawn_samples(apart=0.3)
    samples.rows[:, -1] = samples.rows[:, 0]

    together, apart = (
        np.abs(head_from_samples(one, "tower", "fingerprint")[0].weights)
        for one in (samples, dataclasses.replace(samples, parts=(FEATURES - 2, 2)))
    )

    assert together[-1] == pytest.approx(together[0], rel=0.01)
    assert apart[-1] == pytest.approx((FEATURES - 2) / 2 * apart[0], rel=0.01)


def test_one_folder_cannot_be_left_out():
    with pytest.raises(UsageError, match="fewer than two folders of photographs"):
        head_from_samples(drawn_samples(collections=1), "tower", "fingerprint")


def test_the_shipped_data_knows_what_people_made():
    """Without it portraits and drawings are taken for generated (docs/evidence.md)."""
    record, _ = PHOTOGRAPH_FILE.read(photograph_path())
    assert f"outside-{PARTS - 1}" in str(record.details["folders"])
    others = {one.name: len(one) for one in shipped_others().candidates}
    assert others["outside-photographs"] == others["outside-graphics"] == 40
