"""Fitting the real head on a few tiny images."""

import json

import cv2
import numpy as np
import pytest

from lineup.errors import BundleFormatError, UsageError
from lineup_models.fingerprint.checkpoint import (
    Checkpoint,
    add_real_head,
    read_checkpoint,
    write_checkpoint,
)
from lineup_models.fingerprint.covariance import FoundAxes
from lineup_models.fingerprint.real_head import STATISTICS, RealWeights
from lineup_models.fingerprint.real_images import (
    CHANNELS,
    SeenImage,
    at_most_per_folder,
    seen_images,
)
from lineup_models.fingerprint.real_training import (
    SHARES,
    RealOptions,
    Trial,
    doubts_from_trials,
    fit_real_head,
    ratios_from_images,
    real_weights_from_images,
    trials_from_images,
)
from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.photographs import generator_folders

SPEC = SpectrumSpec(tile_size_px=32, pool_height=8, pool_width=4, axes=2)


def fill(folder, count, sigma_px):
    folder.mkdir(parents=True)
    for seed in range(count):
        noise = np.random.default_rng([seed, count]).integers(0, 256, (70, 70, 3), np.uint8)
        cv2.imwrite(str(folder / f"{seed}.png"), cv2.GaussianBlur(noise, (0, 0), sigma_px))
    return folder


@pytest.fixture
def photos(tmp_path):
    return [fill(tmp_path / "near", 6, 1.0), fill(tmp_path / "far", 5, 1.1)]


@pytest.fixture
def generated(tmp_path):
    for name, count, sigma_px in (("a", 4, 0.5), ("b", 3, 0.6)):
        fill(tmp_path / "generated" / name, count, sigma_px)
    return [tmp_path / "generated"]


def image(group, is_generated, value):
    """One tile; the fourth statistic is `value`, the sixth never varies."""
    row = np.random.default_rng(abs(int(value * 1e6))).normal(0, 1, (1, STATISTICS))
    row[0, 3], row[0, 5] = value, 7
    return SeenImage(group, is_generated, dict.fromkeys(CHANNELS, row))


def drawn_images(generated_mean=4.0):
    random = np.random.default_rng(0)
    real = [image("web", False, value) for value in random.normal(0, 1, 50)]
    return real + [
        image(name, True, value)
        for name in ("a", "b", "c")
        for value in random.normal(generated_mean, 1, 40)
    ]


def test_a_fit_can_be_repeated_and_says_what_it_saw(photos, generated):
    options = RealOptions(hold_out=3, photos_per_folder=4)
    first, record = fit_real_head(photos, generated, SPEC, options)
    again, _ = fit_real_head(photos, generated, SPEC, options)

    assert first.weights.shape == (STATISTICS,)
    assert (first.weights == again.weights).all()
    assert (first.odd, first.traceless) == (again.odd, again.traceless)
    assert record["images"] == {"near": 4, "far": 3, "a": 4, "b": 3}
    assert record["photographs_held_out"] == 3
    assert {name: set(own) for name, own in record["left_out"].items()} == {
        channel: {"a", "b"} for channel in CHANNELS
    }
    assert record["left_out"]["clean"]["a"]["auc"] == 100
    json.dumps(record)


def test_classes_that_differ_are_told_apart_and_constants_ignored():
    fit = real_weights_from_images(drawn_images(), RealOptions())

    assert np.abs(fit.weights).argmax() == 3
    assert fit.weights[3] > 0
    assert fit.deviation[5] == 1


def test_a_group_weighs_the_same_however_many_images_it_has():
    images = drawn_images()
    more = [one for one in images if one.group == "a"] * 5

    few, many = (real_weights_from_images(own, RealOptions()) for own in (images, images + more))

    np.testing.assert_allclose(many.weights, few.weights, atol=1e-4)


def test_each_trial_leaves_a_generator_and_other_photographs_out():
    images = drawn_images()
    trials = list(trials_from_images(images, RealOptions()))

    left_out = [one for trial in trials for one in trial.left_out]
    assert sorted(map(id, left_out)) == sorted(map(id, images))
    assert [{one.group for one in trial.left_out} for trial in trials] == [
        {name, "web"} for name in "abc"
    ]


def test_versions_of_a_generator_are_left_out_together():
    images = [image(name, True, 4.0) for name in ("sd15", "sd20", "mj6")]

    trials = trials_from_images([*images, *[image("web", False, 0.0)] * 4], RealOptions())

    assert [{one.group for one in trial.left_out} - {"web"} for trial in trials] == [
        {"mj6"},
        {"sd15", "sd20"},
    ]


def test_the_more_left_out_images_look_like_photographs_the_more_is_doubted():
    weights = RealWeights(np.zeros(STATISTICS), np.ones(STATISTICS), np.eye(STATISTICS)[3], 0.0)
    plain = [image("web", False, -4.0)] * 20

    def doubts(like_photographs):
        alike = [image("a", True, -4.0)] * like_photographs
        return doubts_from_trials(
            [Trial(weights, (*plain, *alike, *[image("a", True, 4.0)] * (20 - like_photographs)))]
        )

    assert ratios_from_images(weights, plain[:1], "drawn").tolist() == [4.0]
    assert doubts(0) == (SHARES[0], SHARES[0])
    assert doubts(8)[1] == pytest.approx(0.4, abs=0.05)


def test_images_are_looked_at_through_every_channel(photos):
    (seen,) = seen_images(
        sorted(photos[0].iterdir())[:1], SPEC, is_generated=True, tiles_per_image=2
    )

    assert (seen.group, seen.is_generated) == ("near", True)
    assert tuple(seen.statistics) == CHANNELS
    assert seen.statistics["clean"].shape == (2, STATISTICS)
    assert (seen.statistics["clean"][0] != seen.statistics["jpeg:70"][0]).any()


def test_of_each_folder_some_photographs_are_taken(photos):
    paths = [path for folder in photos for path in folder.iterdir()]
    taken = at_most_per_folder(paths, 2)

    assert [path.parent for path in taken].count(photos[0]) == 2
    assert taken == at_most_per_folder(paths[::-1], 2)


def test_a_single_generator_is_refused(tmp_path):
    fill(tmp_path / "generated" / "a", 2, 1.0)
    camera = fill(tmp_path / "generated" / "camera", 2, 1.0)

    with pytest.raises(UsageError, match="no images of two generators"):
        generator_folders([tmp_path / "generated"], [camera])


@pytest.fixture
def checkpoint(tmp_path):
    fit = FoundAxes(
        mean=np.zeros(SPEC.fingerprint_dimension),
        axes=np.eye(2, SPEC.fingerprint_dimension, dtype=np.float32),
        variances=np.ones(2),
        floor=0.1,
    )
    write_checkpoint(Checkpoint(SPEC, fit, {"photographs": 3}), tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_the_head_lies_in_the_checkpoint_and_comes_back(checkpoint):
    head = real_weights_from_images(drawn_images(), RealOptions())

    assert read_checkpoint(checkpoint).real is None
    add_real_head(checkpoint, head, {"odd": 0.1})
    read = read_checkpoint(checkpoint)

    assert read.real is not None
    assert (read.real.weights == head.weights).all()
    assert (read.real.bias, read.real.odd) == (head.bias, head.odd)
    assert read.real_record == {"odd": 0.1}
    assert read.record == {"photographs": 3}


def test_a_head_of_another_length_is_refused(checkpoint):
    add_real_head(checkpoint, RealWeights(np.ones(3), np.ones(3), np.ones(3), 0.0), {})

    with pytest.raises(BundleFormatError, match="another length"):
        read_checkpoint(checkpoint)
