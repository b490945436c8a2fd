from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from lineup_models.pocket.generator import (
    TIMESTEP_MAX,
    Generator,
    SamplingOptions,
    latents_from_noise,
    signal_and_noise,
    take_over,
    velocity_target,
)
from lineup_models.pocket.presets import Preset
from lineup_models.pocket.student_training import FIRST_TIMESTEP, NoiseMap, signal_shares
from lineup_models.pocket.teacher_training import thing_weights
from lineup_models.pocket.unet import TranslatedUNet, UNet
from lineup_models.pocket.vae import Vae
from lineup_models.training import average_of, follow


class _Oracle(nn.Module):
    """Knows the picture of each caption and predicts its v exactly; worse without caption."""

    def __init__(self, pictures: Tensor) -> None:
        super().__init__()
        self.pictures = pictures

    def text_encoder(self, tokens: Tensor) -> Tensor:
        return tokens

    def unet(self, noisy: Tensor, timestep: Tensor, states: Tensor) -> Tensor:
        signal, share = signal_and_noise(timestep / TIMESTEP_MAX)
        signal, share = signal[:, None, None, None], share[:, None, None, None]
        clean = self.pictures[states[:, 0]]
        noise = (noisy - signal * clean) / share
        return signal * noise - share * clean


@pytest.mark.parametrize("steps", [1, 4])
def test_the_sampler_comes_to_the_picture_that_an_exact_teacher_has_in_mind(steps: int) -> None:
    torch.manual_seed(0)
    pictures = torch.randn(3, 2, 4, 4)
    found = latents_from_noise(
        _Oracle(pictures),  # type: ignore[arg-type]
        torch.randn(2, 2, 4, 4),
        torch.tensor([[1], [2]]),
        torch.tensor([[0]]),
        SamplingOptions(steps=steps, guidance=1.0),
    )
    assert torch.allclose(found, pictures[1:], atol=1e-4)


def test_guidance_goes_beyond_the_caption_away_from_none() -> None:
    torch.manual_seed(0)
    pictures, noise = torch.randn(2, 2, 4, 4), torch.randn(1, 2, 4, 4)
    options = SamplingOptions(steps=1, guidance=3.0)
    found = latents_from_noise(
        _Oracle(pictures),  # type: ignore[arg-type]
        noise,
        torch.tensor([[1]]),
        torch.tensor([[0]]),
        options,
    )
    expected = pictures[:1] + 3.0 * (pictures[1:] - pictures[:1])
    assert torch.allclose(found, expected, atol=1e-4)


def test_the_noisy_latents_and_v_give_the_clean_ones_back() -> None:
    torch.manual_seed(0)
    clean, noise, time = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4), torch.rand(3)
    noisy, velocity = velocity_target(clean, noise, time)
    signal, share = (part[:, None, None, None] for part in signal_and_noise(time))
    assert torch.allclose(signal * noisy - share * velocity, clean, atol=1e-5)


@pytest.mark.parametrize("name", ["coarse", "fine"])
def test_noise_stays_unit_normal_and_keeps_what_the_teacher_saw(preset: Preset, name: str) -> None:
    teacher, own = Vae(preset.vaes["coarse"]), Vae(preset.vaes[name])
    mapping = NoiseMap(teacher, own, seed=3)
    torch.manual_seed(0)
    noise, extra = torch.randn(64, 3, 8, 8), torch.randn(64, mapping.extra, 8, 8)

    found = mapping(noise, extra)

    side = 8 * teacher.spec.factor // own.spec.factor
    assert found.shape == (64, 3, side, side)
    rows = mapping.matrix.shape[0]
    assert torch.allclose(mapping.matrix @ mapping.matrix.T, torch.eye(rows), atol=1e-5)
    folded = torch.nn.functional.pixel_unshuffle(found, mapping.fold)
    back = torch.einsum("oc,nohw->nchw", mapping.matrix, folded)
    assert torch.allclose(back[:, :3], noise, atol=1e-5)
    again = NoiseMap(teacher, own, seed=3)
    assert torch.equal(again.matrix, mapping.matrix)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_the_schedule_is_the_one_of_diffusers_one_step_models() -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="sample",
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(1)
    assert torch.allclose(signal_shares(), scheduler.alphas_cumprod, atol=1e-6)
    assert scheduler.timesteps.tolist() == [FIRST_TIMESTEP]
    torch.manual_seed(0)
    noise, prediction = torch.randn(1, 4, 4, 4), torch.randn(1, 4, 4, 4)
    sample = noise * scheduler.init_noise_sigma
    seen = scheduler.scale_model_input(sample, scheduler.timesteps[0])
    share = (1.0 - signal_shares()[FIRST_TIMESTEP]).sqrt()
    assert torch.allclose(seen, share * noise, atol=1e-4)
    found = scheduler.step(prediction, scheduler.timesteps[0], sample).prev_sample
    assert torch.allclose(found, prediction, atol=1e-4)


def test_an_average_follows_fast_at_first_and_slowly_later() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = average_of(model)
    nn.init.ones_(model.weight)
    follow(average, model, 0.99, step=0)
    assert average.weight.item() == pytest.approx(0.9)
    follow(average, model, 0.99, step=10_000)
    assert average.weight.item() == pytest.approx(0.901)
    assert not average.weight.requires_grad


def test_weights_are_large_where_a_row_is_interrupted() -> None:
    latents = torch.linspace(-1, 1, 8)[None, None, :, None].expand(2, 3, 8, 8).clone()
    latents[0, :, 2, 5] += 1.0
    weights = thing_weights(latents, 0.5)
    assert weights.shape == (2, 1, 8, 8)
    assert weights[0].mean().item() == pytest.approx(1.0)
    assert weights[0, 0, 2, 5] > 20
    assert weights[0, 0, 2, 4].item() == pytest.approx(0.5)
    assert torch.isfinite(weights[1]).all()


def test_a_translated_denoiser_sees_the_noise_of_the_teacher(preset: Preset) -> None:
    teacher_vae, own_vae = Vae(preset.vaes["coarse"]), Vae(preset.vaes["fine"])
    mapping = NoiseMap(teacher_vae, own_vae, seed=1)
    denoiser = Generator(preset.generators["sibling"], 9).unet
    assert isinstance(denoiser, TranslatedUNet)
    denoiser.take_noise_as_teacher(mapping.matrix)
    torch.manual_seed(0)
    noise, extra = torch.randn(2, 3, 16, 16), torch.randn(2, mapping.extra, 16, 16)
    seen = []
    denoiser.trunk.register_forward_hook(lambda _module, given, _found: seen.append(given[0]))

    found = denoiser(mapping(noise, extra), torch.zeros(2), torch.randn(2, 4, 8))

    assert torch.allclose(seen[0], noise, atol=1e-5)
    assert found.shape == (2, 3, 32, 32)


def test_a_trunk_takes_over_what_it_has_of_the_teacher_and_predicts_the_opposite(
    preset: Preset,
) -> None:
    torch.manual_seed(0)
    spec = preset.teacher_spec.unet
    teacher, deeper, trunk = UNet(spec), UNet(replace(spec, blocks=(2, 2))), UNet(spec)
    torch.nn.init.normal_(teacher.output.weight)
    inputs = torch.randn(1, 3, 8, 8), torch.zeros(1), torch.randn(1, 4, 8)
    take_over(trunk, teacher)
    assert torch.allclose(trunk(*inputs), -teacher(*inputs), atol=1e-6)
    take_over(trunk, deeper)
    first = "down_levels.0.blocks.0.conv1.weight"
    assert torch.equal(trunk.state_dict()[first], deeper.state_dict()[first])
