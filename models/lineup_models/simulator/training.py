"""Training the simulator on photographs."""

from __future__ import annotations

import io
import json
import math
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np
import torch
from torch import Tensor

from lineup._version import __version__
from lineup.errors import BundleFormatError, UsageError
from lineup.files import write_atomic
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

WEIGHTS_NAME = "simulator.safetensors"
CHECKPOINT_NAME = "checkpoint.pt"
LOSSES_NAME = "losses.json"
GRADIENT_NORM_MAX = 1.0

Watch = Callable[[Sequence[int]], Iterable[int]]
"""Wraps the steps while they are gone through, e.g. with a progress bar."""


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
    hold_out: int = 150
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


@dataclass(frozen=True, slots=True)
class StepLosses:
    """The losses of one step; arguments of `ReconstructionLoss`.

    Attributes:
        step: Counted from 0.
        total: What was minimised.
        squared_error: Of images scaled to -1..1.
        perceptual: Not weighted.
    """

    step: int
    total: float
    squared_error: float
    perceptual: float

    @property
    def psnr_db(self) -> float:
        """Peak signal-to-noise ratio of the step's reconstructions, in dB."""
        return -10.0 * math.log10(max(self.squared_error / 4.0, 1e-12))


def train_simulator(
    photos: Path, options: TrainingOptions, output: Path, *, watch: Watch | None = None
) -> TrainedSimulator:
    """Train on the photographs of a folder; go on where an interrupted run stopped.

    Everything a step draws comes from the seed and the step's number, so that an interrupted and
    resumed run gives the very weights of an uninterrupted one (same device and library versions).

    Args:
        photos: Searched recursively for photographs.
        options: How to train.
        output: Folder for checkpoint, losses and, at the end, the weights.
        watch: Wraps the steps as they are gone through; None goes through them plainly.

    Raises:
        UsageError: Options that do not fit together, or a folder with another run's checkpoint.
    """
    _check(options)
    split = split_photographs(photos, options.hold_out)
    run = SimulatorRun(split.fit, options)
    checkpoint = output / CHECKPOINT_NAME
    first = run.restore(checkpoint) if checkpoint.exists() else 0
    started = time.perf_counter()
    steps = range(first, options.steps)
    for step in watch(steps) if watch else steps:
        run.step(step)
        if (step + 1) % options.checkpoint_steps == 0 or step + 1 == options.steps:
            run.save(output, step + 1)
    trained = TrainedSimulator(
        run.simulator.eval().requires_grad_(False),
        {
            **_record(options, len(split.fit), len(split.held_out), run.losses),
            "seconds_since_resumed": round(time.perf_counter() - started, 1),
        },
    )
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


class SimulatorRun:
    """The state of a training: weights, optimiser, losses so far."""

    def __init__(self, paths: Sequence[Path], options: TrainingOptions) -> None:
        self.paths = paths
        self.options = options
        self.space = SPACES[options.space]
        self.losses: list[StepLosses] = []
        self.loss = ReconstructionLoss(options.perceptual_weight, lpips=options.lpips)
        self.simulator = _initial_simulator(options).train().requires_grad_(True)
        self.optimiser = torch.optim.Adam(self.simulator.parameters(), lr=options.learning_rate)

    def step(self, step: int) -> None:
        """Update the weights once."""
        options = self.options
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate_at(step, options)
        random = np.random.default_rng([options.seed, step])
        crops = crops_from_paths(self.paths, options.crop_px, options.images_per_step, random)
        images = images_from_pixels(crops)
        self.optimiser.zero_grad(set_to_none=True)
        parts = torch.zeros(3)
        for index, batch in enumerate(images.chunk(options.architectures_per_step)):
            parts += self._backward(batch, [options.seed, step, index], random)
        torch.nn.utils.clip_grad_norm_(self.simulator.parameters(), GRADIENT_NORM_MAX)
        self.optimiser.step()
        total, squared_error, perceptual = (parts / options.architectures_per_step).tolist()
        self.losses.append(StepLosses(step, total, squared_error, perceptual))

    def _backward(self, batch: Tensor, seed: list[int], random: np.random.Generator) -> Tensor:
        architecture = architecture_from_seed(seed, self.space)
        shift = (int(random.integers(4)), int(random.integers(4)))
        parts = self.loss(self.simulator(batch, architecture), batch, shift)
        (parts.total / self.options.architectures_per_step).backward()
        return torch.stack([parts.total, parts.squared_error, parts.perceptual]).detach()

    def save(self, output: Path, steps_done: int) -> None:
        """Write the checkpoint and, for people, the losses."""
        buffer = io.BytesIO()
        torch.save(
            {
                "options": asdict(self.options),
                "steps_done": steps_done,
                "weights": self.simulator.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "losses": [list(asdict(losses).values()) for losses in self.losses],
            },
            buffer,
        )
        write_atomic(output / CHECKPOINT_NAME, buffer.getvalue())
        rows = [asdict(losses) for losses in self.losses]
        write_atomic(output / LOSSES_NAME, json.dumps(rows).encode())

    def restore(self, checkpoint: Path) -> int:
        """Return how many steps the checkpoint has behind it, and take over its state.

        Raises:
            BundleFormatError: The file is no checkpoint.
            UsageError: The checkpoint is of a run with other options.
        """
        # Saved by torch as a zip archive; on anything else its reader fails in many ways.
        if not is_zipfile(checkpoint):
            raise BundleFormatError(
                f"{checkpoint} is not the checkpoint of a training.",
                hint="Remove it to train from the start.",
            )
        state = torch.load(checkpoint, weights_only=True)
        if state["options"] != asdict(self.options):
            raise UsageError(
                f"{checkpoint} belongs to a training with other options.",
                hint="Give the same options to go on with it, or another output folder.",
            )
        self.simulator.load_state_dict(state["weights"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.losses = [StepLosses(int(row[0]), *row[1:]) for row in state["losses"]]
        return int(state["steps_done"])


def _initial_simulator(options: TrainingOptions) -> Simulator:
    if options.initial is not None:
        initial = read_simulator(Path(options.initial)).simulator
        return perturbed_simulator(initial, options.seed, options.perturbation)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        return Simulator(SPACES[options.space], SimulatorSpec())


def learning_rate_at(step: int, options: TrainingOptions) -> float:
    """Return the learning rate of a step: linear warm-up, then a cosine down to 1 %."""
    warm = min(1.0, (step + 1) / max(options.warmup_steps, 1))
    cosine = 0.5 * (1.0 + math.cos(math.pi * step / options.steps))
    return options.learning_rate * warm * (0.01 + 0.99 * cosine)


def _record(
    options: TrainingOptions, fit: int, held_out: int, losses: Sequence[StepLosses]
) -> dict[str, Any]:
    last = losses[-min(len(losses), 200) :]
    return {
        "options": asdict(options),
        "photographs": fit,
        "photographs_held_out": held_out,
        "hold_out_rule": HOLD_OUT_RULE,
        "psnr_db_last_200_steps": round(float(np.mean([row.psnr_db for row in last])), 2),
        "loss_last_200_steps": round(float(np.mean([row.total for row in last])), 5),
        "tools": {
            "lineup": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
