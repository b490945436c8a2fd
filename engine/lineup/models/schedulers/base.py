"""How a latent moves from one timestep to the next, and how much noise it carries at each.

The models were trained, and are run elsewhere, with the values that PyTorch computes in fp32. Their
rounding matters: a relative error of 1e-6 in a sigma of 14.6 moves a latent by more than 1e-5. So
the fp32 arithmetic of PyTorch is followed operation by operation.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import numpy as np

from lineup.models.schedulers.constants import Constants
from lineup.types import Float32Array

ONE = np.float32(1)
"""In expressions of fp32 scalars: NumPy 1 takes a Python 1 for a float64."""

_MAX_BETA = 0.999
_TINY_ALPHA = np.float32(2.0**-24)

Noise: TypeAlias = Float32Array | None
"""Standard normal, the shape of the latents; None in a step that adds none."""


class PredictionType(str, Enum):
    """What the denoiser puts out."""

    EPSILON = "epsilon"
    SAMPLE = "sample"
    V_PREDICTION = "v_prediction"


class BetaSchedule(str, Enum):
    """How the variance of the noise grows with the timestep."""

    LINEAR = "linear"
    SCALED_LINEAR = "scaled_linear"
    SQUARED_COSINE = "squaredcos_cap_v2"


@dataclass(frozen=True, slots=True)
class NoiseSchedule:
    """The noise of every training timestep, and what the denoiser predicts.

    Attributes:
        alphas_cumprod: Shape (timesteps,), float32, falling from about 1 to about 0: the share of
            the image in a noised latent's variance; alpha-bar of DDPM (2006.11239), section 2.
        prediction_type: What the denoiser puts out.
    """

    alphas_cumprod: Float32Array
    prediction_type: PredictionType

    @property
    def timesteps(self) -> int:
        """Number of timesteps in training."""
        return len(self.alphas_cumprod)

    def alpha(self, timestep: int) -> np.float32:
        """Return alpha-bar of one timestep."""
        value: np.float32 = self.alphas_cumprod[timestep]
        return value

    def sigmas(self) -> Float32Array:
        """Return sqrt((1 - alpha-bar) / alpha-bar), shape (timesteps,): noise per unit of image."""
        alphas = self.alphas_cumprod.copy()
        # With a terminal signal of zero the last sigma would be infinite.
        alphas[alphas == 0] = _TINY_ALPHA
        ratio: Float32Array = np.sqrt((ONE - alphas) / alphas)
        return ratio

    def noised(self, original: Float32Array, noise: Float32Array, timestep: int) -> Float32Array:
        """Return a latent that carries the noise of a timestep: DDPM (2006.11239), equation 4.

        Args:
            original: Latents without noise, float32, any shape.
            noise: Standard normal, the same shape.
            timestep: 0..timesteps - 1.
        """
        alpha = self.alpha(timestep)
        noisy: Float32Array = np.sqrt(alpha) * original + np.sqrt(ONE - alpha) * noise
        return noisy

    def original_and_noise(
        self, prediction: Float32Array, sample: Float32Array, timestep: int
    ) -> tuple[Float32Array, Float32Array]:
        """Return what the prediction says the image and the noise in a latent are.

        DDIM (2010.02502), equation 12, and progressive distillation (2202.00512), appendix D.

        Args:
            prediction: Output of the denoiser, float32, any shape.
            sample: The latent it was fed, the same shape.
            timestep: 0..timesteps - 1.
        """
        alpha = self.alpha(timestep)
        image_share, noise_share = np.sqrt(alpha), np.sqrt(ONE - alpha)
        if self.prediction_type is PredictionType.EPSILON:
            return (sample - noise_share * prediction) / image_share, prediction
        if self.prediction_type is PredictionType.SAMPLE:
            return prediction, (sample - image_share * prediction) / noise_share
        return (
            image_share * sample - noise_share * prediction,
            image_share * prediction + noise_share * sample,
        )


def noise_schedule_from_constants(constants: Constants) -> NoiseSchedule:
    """Return the noise schedule of a scheduler's constants.

    Raises:
        BundleFormatError: A constant is absent or wrong; names it.
    """
    betas = _betas(constants)
    if constants.flag("rescale_betas_zero_snr", False):
        betas = _betas_with_zero_terminal_snr(betas)
    return NoiseSchedule(
        alphas_cumprod=_cumulative_product(ONE - betas),
        prediction_type=constants.choice("prediction_type", PredictionType),
    )


def _betas(constants: Constants) -> Float32Array:
    steps = constants.integer("num_train_timesteps")
    schedule = constants.choice("beta_schedule", BetaSchedule)
    if schedule is BetaSchedule.SQUARED_COSINE:
        return _squared_cosine(steps)
    start, end = constants.number("beta_start"), constants.number("beta_end")
    if schedule is BetaSchedule.LINEAR:
        return _linear(start, end, steps)
    roots = _linear(math.sqrt(start), math.sqrt(end), steps)
    return roots * roots


def _linear(start: float, end: float, steps: int) -> Float32Array:
    """Return what `torch.linspace` returns in fp32: two halves, each with fused multiply-add.

    The product of two fp32 numbers is exact in fp64, so that one rounding at the end is the fused
    operation.
    """
    first, last = np.float32(start), np.float32(end)
    step = np.float64((last - first) / np.float32(steps - 1))
    index = np.arange(steps)
    rising = np.float64(first) + step * index
    falling = np.float64(last) - step * (steps - 1 - index)
    values: Float32Array = np.where(index < steps // 2, rising, falling).astype(np.float32)
    return values


def _squared_cosine(steps: int) -> Float32Array:
    """Return the cosine schedule of improved DDPM (2102.09672), equation 17."""

    def signal(time: float) -> float:
        return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2

    ratios = (signal((step + 1) / steps) / signal(step / steps) for step in range(steps))
    return np.array([min(1 - ratio, _MAX_BETA) for ratio in ratios], np.float32)


def _cumulative_product(alphas: Float32Array) -> Float32Array:
    """Return what `torch.cumprod` returns on a CPU: accumulated in fp64, each element rounded."""
    return np.cumprod(alphas, dtype=np.float64).astype(np.float32)


def _betas_with_zero_terminal_snr(betas: Float32Array) -> Float32Array:
    """Rescale so that the last timestep is pure noise: 2305.08891, algorithm 1."""
    roots = np.sqrt(_cumulative_product(ONE - betas))
    first, last = roots[0], roots[-1]
    roots = (roots - last) * (first / (first - last))
    squares = roots * roots
    alphas = np.concatenate([squares[:1], squares[1:] / squares[:-1]])
    rescaled: Float32Array = ONE - alphas
    return rescaled


class Scheduler(ABC):
    """The way from noise to an image in a fixed number of steps; holds no state of a run.

    Made of constants, the number of steps, and a strength of 0..1: how much of an image is redrawn,
    where 1 starts from noise. Raises `BundleFormatError`, which names a constant that is absent or
    wrong, and `UsageError` where the number of steps cannot be taken.

    Step k feeds `model_input(latents, k)` and `timesteps[k]` to the denoiser and its prediction to
    `previous`. Every image of a batch is treated alike and alone.

    Attributes:
        timesteps: Shape (steps,), float32, falling: what the denoiser is told.
        first_step: Where the way starts; above 0 when an image is redrawn.
        initial_scale: Standard deviation of the noise that a way from noise starts with.
    """

    timesteps: Float32Array
    first_step: int
    initial_scale: np.float32

    @abstractmethod
    def model_input(self, latents: Float32Array, step: int) -> Float32Array:
        """Return what the denoiser is fed at a step, the shape of the latents."""

    @abstractmethod
    def previous(
        self, prediction: Float32Array, latents: Float32Array, step: int, noise: Noise = None
    ) -> Float32Array:
        """Return the latents after a step.

        Args:
            prediction: Output of the denoiser, float32, the shape of the latents.
            latents: Before the step, float32.
            step: Index into `timesteps`.
            noise: For a step that `needs_noise`.
        """

    @abstractmethod
    def noised(self, original: Float32Array, noise: Float32Array, step: int) -> Float32Array:
        """Return the latents of an image with the noise that they carry before a step."""

    def needs_noise(self, step: int) -> bool:
        """Return whether a step adds fresh noise; most schedulers never do."""
        return False


def fresh(noise: Noise) -> Float32Array:
    """Return the noise of a step that needs it.

    Raises:
        ValueError: There is none.
    """
    if noise is None:
        raise ValueError("this step adds noise and was given none")
    return noise
