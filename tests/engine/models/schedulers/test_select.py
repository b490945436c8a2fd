import numpy as np
import pytest

from lineup.errors import BundleFormatError, UsageError
from lineup.models.schedulers.samplers import (
    DdimScheduler,
    EulerScheduler,
    LcmScheduler,
    TcdScheduler,
    scheduler_from_manifest,
)

DDIM = {
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "clip_sample": False,
    "set_alpha_to_one": False,
}
CONSISTENCY = {"original_inference_steps": 50}


@pytest.mark.parametrize(
    ("kind", "constants", "expected"),
    [
        ("one-step", {}, EulerScheduler),
        ("euler", {"timestep_spacing": "linspace"}, EulerScheduler),
        ("ddim", DDIM, DdimScheduler),
        ("lcm", CONSISTENCY, LcmScheduler),
        ("tcd", {**CONSISTENCY, "eta": 0.3}, TcdScheduler),
    ],
)
def test_the_type_selects_the_scheduler(build, kind, constants, expected):
    assert isinstance(build(kind, 2, **constants), expected)


def test_one_step_starts_at_the_last_timestep_of_training(build):
    scheduler = build("one-step", 1)

    assert scheduler.timesteps.tolist() == [999]
    assert scheduler.initial_scale == pytest.approx(14.6146, abs=1e-3)


@pytest.mark.parametrize(
    "key", ["num_train_timesteps", "beta_start", "beta_schedule", "prediction_type", "type"]
)
def test_a_missing_constant_is_named(stable_diffusion, key):
    constants = {"type": "one-step", **stable_diffusion}
    del constants[key]

    with pytest.raises(BundleFormatError, match=rf"scheduler\.{key}: missing"):
        scheduler_from_manifest(constants, 1)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("type", "magic", "one of: one-step, euler"),
        ("beta_start", "small", "expected a number"),
        ("num_train_timesteps", 0.5, "expected a whole number"),
        ("prediction_type", "flow", "one of: epsilon"),
        ("use_karras_sigmas", "yes", "expected true or false"),
        ("use_beta_sigmas", True, "only False is implemented"),
        ("trained_betas", [0.1], "only None is implemented"),
        ("timesteps", "all", "expected a list of whole numbers"),
    ],
)
def test_a_wrong_constant_is_named(stable_diffusion, key, value, expected):
    constants = {**stable_diffusion, **CONSISTENCY, "timestep_spacing": "trailing"}
    kind = "lcm" if key == "timesteps" else "euler"

    with pytest.raises(BundleFormatError, match=rf"scheduler\.{key}: .*{expected}"):
        scheduler_from_manifest({"type": kind, **constants, key: value}, 1)


def test_eta_is_a_share(build):
    with pytest.raises(BundleFormatError, match=r"scheduler\.eta"):
        build("tcd", 1, **CONSISTENCY, eta=1.5)


@pytest.mark.parametrize(("eta", "asks"), [(0.0, [False, False]), (0.3, [True, False])])
def test_noise_is_asked_for_where_a_step_uses_it(build, eta, asks):
    scheduler = build("tcd", 2, **CONSISTENCY, eta=eta)

    assert [scheduler.needs_noise(step) for step in range(2)] == asks


def test_the_most_steps_are_those_of_training(build):
    assert len(build("one-step", 1000).timesteps) == 1000


@pytest.mark.parametrize("steps", [0, 1001])
def test_impossible_numbers_of_steps(build, steps):
    with pytest.raises(UsageError, match="takes 1 to 1000"):
        build("one-step", steps)


def test_more_steps_than_the_student_was_distilled_on(build):
    with pytest.raises(UsageError, match="takes 1 to 50"):
        build("lcm", 51, **CONSISTENCY)


def test_a_strength_that_leaves_no_step(build):
    with pytest.raises(UsageError, match="leaves none") as caught:
        build("one-step", 2, strength=0.4)

    assert "0.5" in caught.value.hint


def test_a_strength_that_leaves_too_few_timesteps(build):
    with pytest.raises(UsageError, match="leaves 5 of the 50"):
        build("lcm", 8, strength=0.1, **CONSISTENCY)


def test_a_step_without_its_noise_is_refused(build):
    latents = np.zeros((1, 4, 8, 8), np.float32)

    with pytest.raises(ValueError, match="adds noise"):
        build("lcm", 2, **CONSISTENCY).previous(latents, latents, 0)
