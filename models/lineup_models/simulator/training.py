"""Training the simulator on photographs."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lineup.errors import UsageError
from lineup_models.photographs import (
    HOLD_OUT_RULE,
    SIDE_MULTIPLE_PX,
    crops_from_paths,
    images_from_pixels,
    split_photographs,
)
from lineup_models.simulator.architecture import SPACES, architecture_from_seed
from lineup_models.simulator.losses import ReconstructionLoss
from lineup_models.simulator.network import (
    Simulator,
    SimulatorSpec,
    TrainedSimulator,
    perturbed_simulator,
    read_simulator,
    write_simulator,
)
from lineup_models.training import (
    LoopOptions,
    Task,
    Watch,
    plainly,
    run_task,
    seeded,
    tool_versions,
)

WEIGHTS_NAME = "simulator.safetensors"


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How the simulator is trained.

    Attributes:
        seed: Of weights, crops and architectures.
        steps: Weight updates.
        space: Name of the search space.
        hold_out: Photographs that are never used, for evaluation.
        crop_px: Side of the training crops, a multiple of 8.
        images_per_step: Over all architectures of a step.
        architectures_per_step: Architectures whose gradients make one step.
        learning_rate: Highest; reached after the warm-up, then lowered to 1 % along a cosine.
        warmup_steps: Steps of the linear warm-up.
        perceptual_weight: Of the perceptual distance against the squared error.
        lpips: Use the published LPIPS instead of the built-in distance.
        initial: Weights to start from; None starts from random ones.
        perturbation: Noise added to the weights to start from, in units of their spread.
        checkpoint_steps: Steps between checkpoints.
    """

    seed: int = 0
    steps: int = 5000
    space: str = "extended"
    hold_out: int = 120
    crop_px: int = 128
    images_per_step: int = 8
    architectures_per_step: int = 4
    learning_rate: float = 3e-3
    warmup_steps: int = 100
    perceptual_weight: float = 0.25
    lpips: bool = False
    initial: str | None = None
    perturbation: float = 0.0
    checkpoint_steps: int = 250


def train_simulator(
    photos: Path, options: TrainingOptions, output: Path, *, watch: Watch = plainly
) -> TrainedSimulator:
    """Train on the photographs of a folder; go on where an interrupted run stopped.

    Checkpoint, losses and, at the end, the weights lie in `output`.

    Raises:
        UsageError: Options that do not fit together, or a folder with another run's checkpoint.
    """
    _check(options)
    split = split_photographs([photos], options.hold_out)
    simulator = _initial_simulator(options)
    task = SimulatorTask(output.resolve().name, simulator, split.fit, options)
    loop = LoopOptions(
        options.steps,
        options.learning_rate,
        options.warmup_steps,
        weight_decay=0.0,
        checkpoint_steps=options.checkpoint_steps,
    )
    started = time.perf_counter()
    run_task(task, loop, output, watch=watch)
    record = {
        **_record(options, len(split.fit), len(split.held_out), task.losses),
        "seconds_since_resumed": round(time.perf_counter() - started, 1),
    }
    trained = TrainedSimulator(simulator.eval().requires_grad_(False), record)
    write_simulator(trained, output / WEIGHTS_NAME)
    return trained


def _check(options: TrainingOptions) -> None:
    if options.space not in SPACES:
        raise UsageError(
            f"There is no search space {options.space!r}.", hint=f"Choose from {', '.join(SPACES)}."
        )
    if options.crop_px % SIDE_MULTIPLE_PX:
        raise UsageError(
            f"Crops of {options.crop_px} px cannot be halved three times.",
            hint=f"Give a multiple of {SIDE_MULTIPLE_PX}.",
        )
    if options.images_per_step % options.architectures_per_step:
        raise UsageError(
            f"{options.images_per_step} images cannot be shared evenly by "
            f"{options.architectures_per_step} architectures.",
            hint="Make the number of images a multiple of the number of architectures.",
        )


class SimulatorTask(Task):
    """Trains a simulator: every step shares its images among a few architectures."""

    def __init__(
        self, name: str, simulator: Simulator, paths: Sequence[Path], options: TrainingOptions
    ) -> None:
        simulator.train().requires_grad_(True)
        super().__init__(name, simulator, {"simulator": asdict(options)})
        self.simulator, self.paths, self.options = simulator, paths, options
        self.space = SPACES[options.space]
        self.compare = ReconstructionLoss(options.perceptual_weight, lpips=options.lpips)

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Return the mean loss of the architectures of `step`."""
        options = self.options
        random = np.random.default_rng([options.seed, step])
        crops = crops_from_paths(self.paths, options.crop_px, options.images_per_step, random)
        parts = []
        for index, batch in enumerate(
            images_from_pixels(crops).chunk(options.architectures_per_step)
        ):
            architecture = architecture_from_seed([options.seed, step, index], self.space)
            shift = (int(random.integers(4)), int(random.integers(4)))
            reconstruction = self.simulator(batch, architecture)
            parts.append(torch.stack(self.compare(reconstruction, batch, shift)))
        total, squared_error, perceptual = torch.stack(parts).mean(dim=0)
        figures = {"squared_error": squared_error.item(), "perceptual": perceptual.item()}
        return total, figures


def _initial_simulator(options: TrainingOptions) -> Simulator:
    if options.initial is not None:
        initial = read_simulator(Path(options.initial)).simulator
        return perturbed_simulator(initial, options.seed, options.perturbation)
    with seeded(options.seed):
        return Simulator(SPACES[options.space], SimulatorSpec())


def _record(
    options: TrainingOptions, fit: int, held_out: int, losses: Sequence[dict[str, float]]
) -> dict[str, Any]:
    last = losses[-200:]
    # Images are scaled to -1..1 in the loss: a peak of 2, whose square is 4.
    psnr_db = [-10.0 * math.log10(max(one["squared_error"] / 4.0, 1e-12)) for one in last]
    return {
        "options": asdict(options),
        "photographs": fit,
        "photographs_held_out": held_out,
        "hold_out_rule": HOLD_OUT_RULE,
        "psnr_db_last_200_steps": round(float(np.mean(psnr_db)), 2),
        "loss_last_200_steps": round(float(np.mean([one["total"] for one in last])), 5),
        "tools": tool_versions(),
    }
