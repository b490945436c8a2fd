"""Euler's method on the probability flow: Karras et al. (2206.00364), algorithm 2 without churn.

With trailing spacing and one to four steps it is how the ADD students (SD-Turbo, SDXL-Turbo;
2311.17042) are run.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
import numpy.typing as npt

from lineup.models.schedulers.base import Scheduler
from lineup.models.schedulers.constants import Constants
from lineup.models.schedulers.noise_schedule import (
    ONE,
    PredictionType,
    noise_schedule_from_constants,
)
from lineup.models.schedulers.spacing import (
    TimestepSpacing,
    first_step_from_strength,
    spaced_timesteps,
)
from lineup.types import Float32Array

Float64Array = npt.NDArray[np.float64]

_KARRAS_RHO = 7.0
"""2206.00364, table 1."""


class FinalSigma(str, Enum):
    """The noise level that the last step goes to."""

    ZERO = "zero"
    SIGMA_MIN = "sigma_min"


class EulerScheduler(Scheduler):
    """diffusers' EulerDiscreteScheduler.

    Args:
        constants: Of the scheduler.
        steps: Number of steps from noise to image.
        strength: 0..1, how much of an image is redrawn; 1 starts from noise.
        default_spacing: Spacing when the constants name none; None demands it.

    Raises:
        BundleFormatError: A constant is absent or wrong; names it.
        UsageError: The number of steps cannot be taken.
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
        self,
        prediction: Float32Array,
        latents: Float32Array,
        step: int,
        noise: Float32Array | None = None,
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
