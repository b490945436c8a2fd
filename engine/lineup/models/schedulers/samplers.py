"""The samplers that generators are run with, and the one that a manifest asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import numpy as np

from lineup.errors import BundleFormatError
from lineup.models.schedulers.base import (
    ONE,
    Noise,
    NoiseSchedule,
    PredictionType,
    Scheduler,
    fresh,
    noise_schedule_from_constants,
)
from lineup.models.schedulers.constants import (
    Constants,
    TimestepSpacing,
    consistency_timesteps,
    first_step_from_strength,
    spaced_timesteps,
)
from lineup.types import Float32Array, Float64Array

_KARRAS_RHO = 7.0
"""2206.00364, table 1."""

_SIGMA_DATA = np.float32(0.5)
"""Standard deviation of the data in the boundary conditions of LCM: 2310.04378, section 3."""


class FinalSigma(str, Enum):
    """The noise level that the last step goes to."""

    ZERO = "zero"
    SIGMA_MIN = "sigma_min"


class EulerScheduler(Scheduler):
    """diffusers' EulerDiscreteScheduler.

    Euler's method on the probability flow: Karras et al. (2206.00364), algorithm 2 without churn.
    With trailing spacing and one to four steps it is how the ADD students (SD-Turbo, SDXL-Turbo;
    2311.17042) are run; `default_spacing` is taken when the constants name none, None demands it.
    """

    def __init__(
        self,
        constants: Constants,
        steps: int,
        strength: float = 1.0,
        *,
        default_spacing: TimestepSpacing | None = None,
    ) -> None:
        schedule = noise_schedule_from_constants(constants)
        spacing = constants.choice("timestep_spacing", TimestepSpacing, default_spacing)
        train_sigmas = schedule.sigmas()
        timesteps = spaced_timesteps(spacing, schedule.timesteps, steps, constants)
        # fp32 before the interpolation, as in the reference.
        timesteps = timesteps.astype(np.float32)
        sigmas = np.interp(timesteps, np.arange(len(train_sigmas)), train_sigmas)
        if constants.flag("use_karras_sigmas", False):
            sigmas = _karras_sigmas(sigmas, steps, constants)
            timesteps = _timesteps_from_sigmas(sigmas, train_sigmas)
        final = constants.choice("final_sigmas_type", FinalSigma, FinalSigma.ZERO)
        last = train_sigmas[0] if final is FinalSigma.SIGMA_MIN else 0.0
        self.timesteps = timesteps.astype(np.float32)
        self.first_step = first_step_from_strength(steps, strength)
        self._prediction_type = schedule.prediction_type
        self._sigmas: Float32Array = np.append(sigmas, last).astype(np.float32)
        largest = self._sigmas.max()
        self.initial_scale = (
            np.sqrt(largest * largest + ONE) if spacing is TimestepSpacing.LEADING else largest
        )

    def model_input(self, latents: Float32Array, step: int) -> Float32Array:
        """Return the latents at unit variance."""
        sigma = self._sigmas[step]
        scaled: Float32Array = latents / np.sqrt(sigma * sigma + ONE)
        return scaled

    def previous(
        self, prediction: Float32Array, latents: Float32Array, step: int, noise: Noise = None
    ) -> Float32Array:
        """Return the latents after a step along the derivative."""
        sigma = self._sigmas[step]
        original = self._original(prediction, latents, sigma)
        derivative = (latents - original) / sigma
        moved: Float32Array = latents + derivative * (self._sigmas[step + 1] - sigma)
        return moved

    def noised(self, original: Float32Array, noise: Float32Array, step: int) -> Float32Array:
        """Return the latents of an image with the noise that they carry before a step."""
        noisy: Float32Array = original + noise * self._sigmas[step]
        return noisy

    def _original(
        self, prediction: Float32Array, latents: Float32Array, sigma: np.float32
    ) -> Float32Array:
        """Return what the prediction says the image in the latents is."""
        if self._prediction_type is PredictionType.SAMPLE:
            return prediction
        if self._prediction_type is PredictionType.EPSILON:
            epsilon: Float32Array = latents - sigma * prediction
            return epsilon
        variance = sigma * sigma + ONE
        velocity: Float32Array = prediction * (-sigma / np.sqrt(variance)) + latents / variance
        return velocity


def _karras_sigmas(sigmas: Float64Array, steps: int, constants: Constants) -> Float64Array:
    """Return noise levels spread by 2206.00364, equation 5."""
    smallest, largest = (
        constants.optional_number("sigma_min"),
        constants.optional_number("sigma_max"),
    )
    low = (float(sigmas[-1]) if smallest is None else smallest) ** (1 / _KARRAS_RHO)
    high = (float(sigmas[0]) if largest is None else largest) ** (1 / _KARRAS_RHO)
    spread: Float64Array = (high + np.linspace(0, 1, steps) * (low - high)) ** _KARRAS_RHO
    return spread


def _timesteps_from_sigmas(sigmas: Float64Array, train_sigmas: Float32Array) -> Float64Array:
    """Return the fractional timesteps of noise levels, by their logarithm between neighbours."""
    index = np.arange(len(train_sigmas))
    found: Float64Array = np.interp(np.log(np.maximum(sigmas, 1e-10)), np.log(train_sigmas), index)
    return found


class VariancePreservingScheduler(Scheduler):
    """Feeds the denoiser the latents as they are, and adds noise by a schedule of alphas."""

    initial_scale = ONE
    _schedule: NoiseSchedule
    _timesteps: list[int]

    def model_input(self, latents: Float32Array, step: int) -> Float32Array:
        """Return the latents as they are."""
        return latents

    def noised(self, original: Float32Array, noise: Float32Array, step: int) -> Float32Array:
        """Return the latents of an image with the noise that they carry before a step."""
        return self._schedule.noised(original, noise, self._timesteps[step])


class DdimScheduler(VariancePreservingScheduler):
    """diffusers' DDIMScheduler at eta 0: DDIM (2010.02502), equation 12 without added noise."""

    def __init__(self, constants: Constants, steps: int, strength: float = 1.0) -> None:
        self._schedule = noise_schedule_from_constants(constants)
        train_timesteps = self._schedule.timesteps
        spacing = constants.choice("timestep_spacing", TimestepSpacing)
        timesteps = spaced_timesteps(spacing, train_timesteps, steps, constants)
        self._timesteps: list[int] = timesteps.round().astype(int).tolist()
        self._stride = train_timesteps // steps
        self._final_alpha = ONE if constants.flag("set_alpha_to_one") else self._schedule.alpha(0)
        clips = constants.flag("clip_sample")
        self._clip_range = constants.number("clip_sample_range", 1.0) if clips else None
        self.timesteps = np.array(self._timesteps, np.float32)
        self.first_step = first_step_from_strength(steps, strength)

    def previous(
        self, prediction: Float32Array, latents: Float32Array, step: int, noise: Noise = None
    ) -> Float32Array:
        """Return the latents after a step."""
        timestep = self._timesteps[step]
        original, epsilon = self._schedule.original_and_noise(prediction, latents, timestep)
        if self._clip_range is not None:
            original = np.clip(original, -self._clip_range, self._clip_range)
        target = timestep - self._stride
        alpha = self._schedule.alpha(target) if target >= 0 else self._final_alpha
        moved: Float32Array = np.sqrt(alpha) * original + np.sqrt(ONE - alpha) * epsilon
        return moved


class LcmScheduler(VariancePreservingScheduler):
    """diffusers' LCMScheduler; also of LCM-LoRA.

    Multi-step sampling of latent consistency models (2310.04378), algorithm 3. The steps are spread
    over the share of the timesteps that `strength` names, so that all of them are taken.
    """

    def __init__(self, constants: Constants, steps: int, strength: float = 1.0) -> None:
        self._schedule = noise_schedule_from_constants(constants)
        self._timesteps = consistency_timesteps(
            constants, self._schedule.timesteps, steps, strength
        )
        self._timestep_scaling = np.float32(constants.number("timestep_scaling", 10.0))
        clips = constants.flag("clip_sample", False)
        self._clip_range = constants.number("clip_sample_range", 1.0) if clips else None
        self.timesteps = np.array(self._timesteps, np.float32)
        self.first_step = 0

    def needs_noise(self, step: int) -> bool:
        """Return whether a step adds fresh noise: all but the last do."""
        return step < len(self._timesteps) - 1

    def previous(
        self, prediction: Float32Array, latents: Float32Array, step: int, noise: Noise = None
    ) -> Float32Array:
        """Return the latents after a step: denoised at once, then noised for the next timestep."""
        timestep = self._timesteps[step]
        original, _ = self._schedule.original_and_noise(prediction, latents, timestep)
        if self._clip_range is not None:
            original = np.clip(original, -self._clip_range, self._clip_range)
        skip, out = self._boundary(timestep)
        denoised: Float32Array = out * original + skip * latents
        if not self.needs_noise(step):
            return denoised
        return self._schedule.noised(denoised, fresh(noise), self._timesteps[step + 1])

    def _boundary(self, timestep: int) -> tuple[np.float32, np.float32]:
        """Return c_skip and c_out: consistency models (2303.01469), appendix C."""
        scaled = np.float32(timestep) * self._timestep_scaling
        variance = _SIGMA_DATA * _SIGMA_DATA
        total = scaled * scaled + variance
        return variance / total, scaled / np.sqrt(total)


class TcdScheduler(VariancePreservingScheduler):
    """diffusers' TCDScheduler; also of Hyper-SD's one-step LoRA.

    Trajectory consistency sampling (2402.19159), algorithm 4; the constant `eta` (0..1, gamma in
    the paper) is the share of fresh noise.
    """

    def __init__(self, constants: Constants, steps: int, strength: float = 1.0) -> None:
        self._schedule = noise_schedule_from_constants(constants)
        self._timesteps = consistency_timesteps(constants, self._schedule.timesteps, steps)
        self._eta = constants.number("eta")
        if not 0 <= self._eta <= 1:
            raise BundleFormatError(f"scheduler.eta: {self._eta:g} is not between 0 and 1")
        self.timesteps = np.array(self._timesteps, np.float32)
        self.first_step = first_step_from_strength(steps, strength)

    def needs_noise(self, step: int) -> bool:
        """Return whether a step adds fresh noise: all but the last do, unless eta is 0."""
        return self._eta > 0 and step < len(self._timesteps) - 1

    def previous(
        self, prediction: Float32Array, latents: Float32Array, step: int, noise: Noise = None
    ) -> Float32Array:
        """Return the latents after a step: down to an intermediate timestep, then up with noise."""
        timestep = self._timesteps[step]
        is_last = step == len(self._timesteps) - 1
        target = 0 if is_last else self._timesteps[step + 1]
        # In fp32 as in the reference: the product decides on which side of an integer it falls.
        between = math.floor(np.float32(1 - self._eta) * np.float32(target))
        original, epsilon = self._schedule.original_and_noise(prediction, latents, timestep)
        moved = self._schedule.noised(original, epsilon, between)
        if not self.needs_noise(step):
            return moved
        ratio = self._schedule.alpha(target) / self._schedule.alpha(between)
        noisy: Float32Array = np.sqrt(ratio) * moved + np.sqrt(ONE - ratio) * fresh(noise)
        return noisy


class SchedulerType(str, Enum):
    """The `type` of a manifest's scheduler."""

    ONE_STEP = "one-step"
    EULER = "euler"
    DDIM = "ddim"
    LCM = "lcm"
    TCD = "tcd"


def scheduler_from_manifest(
    constants: Mapping[str, Any], steps: int, *, strength: float = 1.0
) -> Scheduler:
    """Return a scheduler for a number of steps.

    Args:
        constants: The manifest's `scheduler`: `type`, and constants named as in diffusers'
            scheduler_config.json. "one-step" is Euler with trailing spacing, as ADD students run.
        steps: Number of steps from noise to image.
        strength: Above 0 and at most 1: how much of an image is redrawn; 1 starts from noise.

    Raises:
        BundleFormatError: A constant is absent or wrong; names it.
        UsageError: The number of steps cannot be taken.
    """
    given = Constants(constants)
    kind = given.choice("type", SchedulerType)
    if kind is SchedulerType.ONE_STEP:
        return EulerScheduler(given, steps, strength, default_spacing=TimestepSpacing.TRAILING)
    classes: dict[SchedulerType, Callable[[Constants, int, float], Scheduler]] = {
        SchedulerType.EULER: EulerScheduler,
        SchedulerType.DDIM: DdimScheduler,
        SchedulerType.LCM: LcmScheduler,
        SchedulerType.TCD: TcdScheduler,
    }
    return classes[kind](given, steps, strength)
