"""Every scheduler beside its original in diffusers, latents compared after every step."""

from types import SimpleNamespace

import pytest

TOLERANCE = 1e-5  # largest absolute difference, fp32

PREDICTIONS = ["epsilon", "v_prediction", "sample"]
SPACINGS = ["linspace", "leading", "trailing"]
DIFFUSION = {"steps_offset": 1, "clip_sample": False, "set_alpha_to_one": False}

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 4, 25])
def test_euler(largest_difference, prediction_type, spacing, steps):
    difference = largest_difference(
        "euler",
        "EulerDiscreteScheduler",
        steps,
        prediction_type=prediction_type,
        timestep_spacing=spacing,
        steps_offset=1,
    )

    assert difference < TOLERANCE


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_one_step_as_sd_turbo_runs_it(largest_difference, steps):
    constants = {"timestep_spacing": "trailing"}

    assert largest_difference("one-step", "EulerDiscreteScheduler", steps, **constants) < TOLERANCE


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("final_sigmas_type", ["zero", "sigma_min"])
def test_euler_with_karras_sigmas(largest_difference, spacing, final_sigmas_type):
    difference = largest_difference(
        "euler",
        "EulerDiscreteScheduler",
        20,
        timestep_spacing=spacing,
        steps_offset=1,
        use_karras_sigmas=True,
        final_sigmas_type=final_sigmas_type,
    )

    assert difference < TOLERANCE


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 4, 25])
def test_ddim(largest_difference, prediction_type, spacing, steps):
    difference = largest_difference(
        "ddim",
        "DDIMScheduler",
        steps,
        prediction_type=prediction_type,
        timestep_spacing=spacing,
        **DIFFUSION,
    )

    assert difference < TOLERANCE


@pytest.mark.parametrize(
    "change",
    [
        {"set_alpha_to_one": True},
        {"clip_sample": True},
        {"clip_sample": True, "clip_sample_range": 0.5},
    ],
)
def test_ddim_constants(largest_difference, change):
    constants = {**DIFFUSION, "timestep_spacing": "leading", **change}

    assert largest_difference("ddim", "DDIMScheduler", 10, **constants) < TOLERANCE


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_lcm(largest_difference, prediction_type, steps):
    difference = largest_difference(
        "lcm",
        "LCMScheduler",
        steps,
        prediction_type=prediction_type,
        original_inference_steps=50,
        timestep_scaling=10.0,
    )

    assert difference < TOLERANCE


def test_lcm_keeps_a_share_of_its_input_where_the_timestep_counts_as_small(largest_difference):
    constants = {"original_inference_steps": 50, "timestep_scaling": 1e-3}

    assert largest_difference("lcm", "LCMScheduler", 4, **constants) < TOLERANCE


def test_lcm_clips(largest_difference):
    constants = {"original_inference_steps": 50, "clip_sample": True}

    assert largest_difference("lcm", "LCMScheduler", 4, **constants) < TOLERANCE


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
@pytest.mark.parametrize("steps", [1, 2, 4, 8])
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_tcd(largest_difference, prediction_type, steps, eta):
    difference = largest_difference(
        "tcd",
        "TCDScheduler",
        steps,
        only_ours={"eta": eta},
        step_options={"eta": eta},
        prediction_type=prediction_type,
        original_inference_steps=50,
    )

    assert difference < TOLERANCE


@pytest.mark.parametrize("kind", ["lcm", "tcd"])
def test_timesteps_that_the_manifest_gives(largest_difference, kind):
    eta = {"eta": 1.0} if kind == "tcd" else {}
    difference = largest_difference(
        kind,
        f"{kind.upper()}Scheduler",
        1,
        only_ours={"timesteps": [800], **eta},
        set_timesteps={"timesteps": [800]},
        step_options=eta,
        original_inference_steps=50,
    )

    assert difference < TOLERANCE


@pytest.mark.parametrize("kind", ["euler", "ddim"])
@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_beta_schedules(largest_difference, kind, schedule):
    name = {"euler": "EulerDiscreteScheduler", "ddim": "DDIMScheduler"}[kind]
    constants = DIFFUSION if kind == "ddim" else {"steps_offset": 1}
    # Leading: the cosine schedule ends in a sigma of 20,000, whose rounding alone is above 1e-3.
    difference = largest_difference(
        kind, name, 4, beta_schedule=schedule, timestep_spacing="leading", **constants
    )

    assert difference < TOLERANCE


def test_zero_terminal_snr(largest_difference):
    constants = {
        **DIFFUSION,
        "timestep_spacing": "trailing",
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
    }

    assert largest_difference("ddim", "DDIMScheduler", 10, **constants) < TOLERANCE


@pytest.mark.parametrize("strength", [0.2, 0.5, 0.75, 0.99])
@pytest.mark.parametrize(
    ("kind", "reference", "constants"),
    [
        ("euler", "EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
        ("ddim", "DDIMScheduler", {**DIFFUSION, "timestep_spacing": "leading"}),
        ("tcd", "TCDScheduler", {"original_inference_steps": 50}),
    ],
)
def test_redrawing_an_image(largest_difference, kind, reference, constants, strength):
    eta = {"eta": 0.3} if kind == "tcd" else {}
    difference = largest_difference(
        kind, reference, 10, strength=strength, only_ours=eta, step_options=eta, **constants
    )

    assert difference < TOLERANCE


@pytest.mark.parametrize("strength", [0.2, 0.5, 0.8])
def test_redrawing_an_image_with_lcm(largest_difference, strength):
    difference = largest_difference(
        "lcm",
        "LCMScheduler",
        4,
        strength=strength,
        set_timesteps={"num_inference_steps": 4, "strength": strength},
        original_inference_steps=50,
    )

    assert difference < TOLERANCE


@pytest.mark.parametrize("steps", [3, 10, 25])
@pytest.mark.parametrize("strength", [0.34, 0.5, 0.8, 1.0])
def test_first_step_is_that_of_the_image_to_image_pipeline(build, steps, strength):
    pipelines = pytest.importorskip("diffusers", reason="the reference, of the extra export")
    ours = build("euler", steps, strength, timestep_spacing="trailing")
    pipeline = SimpleNamespace(scheduler=SimpleNamespace(timesteps=ours.timesteps, order=1))

    timesteps, taken = pipelines.StableDiffusionImg2ImgPipeline.get_timesteps(
        pipeline, steps, strength, "cpu"
    )

    assert ours.timesteps[ours.first_step :].tolist() == timesteps.tolist()
    assert len(ours.timesteps) - ours.first_step == taken
