"""One way through a scheduler, ours and diffusers' side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lineup.models.schedulers.base import Scheduler
from lineup.models.schedulers.samplers import scheduler_from_manifest

SHAPE = (2, 4, 8, 8)

STABLE_DIFFUSION = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}


class FakeDenoiser:
    """Predicts what a trained denoiser would: an image that depends a little on its input."""

    def __init__(self, prediction_type: str) -> None:
        random = np.random.default_rng(5)
        self.noise = random.standard_normal(SHAPE).astype(np.float32)
        self.image = (0.8 * random.standard_normal(SHAPE)).astype(np.float32)
        self._random = random
        self._kind = prediction_type
        betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
        self._alphas = np.cumprod(1 - betas)

    def predict(self, inputs: Any, timestep: float) -> Any:
        alpha = np.interp(timestep, np.arange(1000), self._alphas)
        image = self.image + 0.3 * np.tanh(inputs)
        noise = (inputs - alpha**0.5 * image) / (1 - alpha) ** 0.5
        velocity = alpha**0.5 * noise - (1 - alpha) ** 0.5 * image
        outputs = {"epsilon": noise, "sample": image, "v_prediction": velocity}
        return outputs[self._kind].astype(np.float32)

    def step_noise(self) -> Any:
        return self._random.standard_normal(SHAPE).astype(np.float32)


@pytest.fixture
def stable_diffusion() -> dict[str, Any]:
    """The constants that the Stable Diffusion family shares."""
    return dict(STABLE_DIFFUSION)


@pytest.fixture
def build() -> Callable[..., Scheduler]:
    def from_kind(kind: str, steps: int, strength: float = 1.0, **constants: Any) -> Scheduler:
        return scheduler_from_manifest(
            {**STABLE_DIFFUSION, "type": kind, **constants}, steps, strength=strength
        )

    return from_kind


def start(ours: Scheduler, theirs: Any, fake: FakeDenoiser, strength: float) -> tuple[Any, Any]:
    """Return the first latents of both."""
    import torch

    noise = torch.tensor(fake.noise)
    if strength == 1:
        return fake.noise * ours.initial_scale, noise * theirs.init_noise_sigma
    begin = theirs.timesteps[ours.first_step :][:1].repeat(len(noise))
    return (
        ours.noised(fake.image, fake.noise, ours.first_step),
        theirs.add_noise(torch.tensor(fake.image), noise, begin),
    )


@pytest.fixture
def largest_difference(
    build: Callable[..., Scheduler], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., float]:
    """Run a scheduler beside diffusers', each on its own latents, with the same denoiser and noise.

    Returns the largest absolute difference of any latent or denoiser input at any step.
    """
    diffusers = pytest.importorskip("diffusers", reason="the reference, of the extra export")
    torch = pytest.importorskip("torch")

    def compare(
        kind: str,
        reference: str,
        steps: int,
        *,
        strength: float = 1.0,
        set_timesteps: dict[str, Any] | None = None,
        step_options: dict[str, Any] | None = None,
        only_ours: dict[str, Any] | None = None,
        **constants: Any,
    ) -> float:
        constants = {**STABLE_DIFFUSION, **constants}
        ours = build(kind, steps, strength, **constants, **(only_ours or {}))
        theirs = getattr(diffusers, reference)(**constants)
        theirs.set_timesteps(**(set_timesteps or {"num_inference_steps": steps}))
        if strength < 1 and hasattr(theirs, "set_begin_index"):
            theirs.set_begin_index(ours.first_step)
        fake = FakeDenoiser(constants["prediction_type"])
        np.testing.assert_allclose(ours.timesteps, theirs.timesteps.numpy(), rtol=2e-7, atol=1e-5)

        sample, expected = start(ours, theirs, fake, strength)
        differences = [np.abs(sample - expected.numpy()).max()]
        for step in range(ours.first_step, len(ours.timesteps)):
            timestep = theirs.timesteps[step]
            inputs = ours.model_input(sample, step)
            expected_inputs = theirs.scale_model_input(expected, timestep).numpy()
            differences.append(np.abs(inputs - expected_inputs).max())

            noise = fake.step_noise()
            injected = torch.tensor(noise)
            monkeypatch.setattr(
                f"{type(theirs).__module__}.randn_tensor", lambda *_, x=injected, **__: x
            )
            prediction = fake.predict(inputs, float(ours.timesteps[step]))
            given = noise if ours.needs_noise(step) else None
            sample = ours.previous(prediction, sample, step, given)
            prediction = torch.tensor(fake.predict(expected_inputs, float(timestep)))
            expected = theirs.step(prediction, timestep, expected, **(step_options or {}))[0]
            assert sample.dtype == np.float32
            differences.append(np.abs(sample - expected.numpy()).max())
        return float(max(differences))

    return compare
