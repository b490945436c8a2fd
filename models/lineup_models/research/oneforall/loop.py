"""The steps of a training stage: learning rate, losses, checkpoints to go on from."""

from __future__ import annotations

import io
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar
from zipfile import is_zipfile

import torch
from torch import Tensor, nn

from lineup.errors import BundleFormatError, UsageError
from lineup.files import write_atomic

GRADIENT_NORM_MAX = 1.0

Item = TypeVar("Item")


class Watch(Protocol):
    """Wraps the steps of a stage while they are gone through, e.g. with a progress bar."""

    def __call__(self, name: str, items: Sequence[Item]) -> Iterable[Item]:
        """Yield `items`; `name` is that of the stage."""


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """How a stage goes through its steps.

    Attributes:
        steps: Weight updates.
        learning_rate: Highest; reached after the warm-up, then lowered to 1 % along a cosine.
        warmup_steps: Steps of the linear warm-up.
        weight_decay: Of AdamW.
        checkpoint_steps: Steps between checkpoints.
    """

    steps: int
    learning_rate: float
    warmup_steps: int = 50
    weight_decay: float = 1e-4
    checkpoint_steps: int = 100


class Task(ABC):
    """What a stage trains.

    Args:
        name: Of the stage; names its files.
        modules: Everything whose state counts; what is trained requires gradients.
        settings: Plain JSON values that make two runs the same; a checkpoint of others is refused.
    """

    def __init__(self, name: str, modules: nn.Module, settings: Mapping[str, Any]) -> None:
        self.name = name
        self.modules = modules
        self.settings = dict(settings)
        self.losses: list[dict[str, float]] = []

    @abstractmethod
    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Return what to minimise in `step`, and its parts for people.

        Everything random must come from the seed and the step's number.
        """

    def after_step(self, step: int) -> None:
        """Do what follows the update of `step`; nothing by default."""
        del step


def learning_rate_at(step: int, options: LoopOptions) -> float:
    """Return the learning rate of a step: linear warm-up, then a cosine down to 1 %."""
    warm = min(1.0, (step + 1) / max(options.warmup_steps, 1))
    cosine = 0.5 * (1.0 + math.cos(math.pi * step / options.steps))
    return options.learning_rate * warm * (0.01 + 0.99 * cosine)


def run_task(task: Task, options: LoopOptions, output: Path, *, watch: Watch | None = None) -> None:
    """Go through all steps; go on where an interrupted run stopped.

    An interrupted and resumed run gives the weights of an uninterrupted one on the same device
    and library versions.

    Args:
        task: What to train; its modules are changed.
        options: Steps and learning rate.
        output: Folder for `NAME.checkpoint.pt` and `NAME.losses.json`.
        watch: Wraps the steps; None goes through them plainly.

    Raises:
        BundleFormatError: The checkpoint in the folder is none.
        UsageError: It is of a run with other settings.
    """
    trained = [parameter for parameter in task.modules.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=0.0, weight_decay=options.weight_decay)
    checkpoint = output / f"{task.name}.checkpoint.pt"
    settings = {"loop": asdict(options), **task.settings}
    first = _restored(task, optimiser, checkpoint, settings) if checkpoint.exists() else 0
    steps = range(first, options.steps)
    for step in watch(task.name, steps) if watch else steps:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate_at(step, options)
        loss, parts = task.loss(step)
        if not math.isfinite(loss.item()):
            raise UsageError(
                f"The loss of stage {task.name} is {loss.item()} at step {step}.",
                hint=f"Lower the learning rate, and remove {checkpoint} to start the stage anew.",
            )
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(trained, GRADIENT_NORM_MAX)
        optimiser.step()
        task.after_step(step)
        task.losses.append({"total": loss.item(), **parts})
        if (step + 1) % options.checkpoint_steps == 0 or step + 1 == options.steps:
            _save(task, optimiser, output, settings, step + 1)


def losses_path(output: Path, name: str) -> Path:
    """Return where a stage leaves its losses, a JSON list with an object per step."""
    return output / f"{name}.losses.json"


def _save(
    task: Task,
    optimiser: torch.optim.Optimizer,
    output: Path,
    settings: Mapping[str, Any],
    steps_done: int,
) -> None:
    buffer = io.BytesIO()
    state = {
        "settings": json.dumps(settings, sort_keys=True),
        "steps_done": steps_done,
        "modules": task.modules.state_dict(),
        "optimiser": optimiser.state_dict(),
        "losses": task.losses,
    }
    torch.save(state, buffer)
    write_atomic(output / f"{task.name}.checkpoint.pt", buffer.getvalue())
    write_atomic(losses_path(output, task.name), json.dumps(task.losses).encode())


def _restored(
    task: Task, optimiser: torch.optim.Optimizer, checkpoint: Path, settings: Mapping[str, Any]
) -> int:
    # Saved by torch as a zip archive; on anything else its reader fails in many ways.
    if not is_zipfile(checkpoint):
        raise BundleFormatError(
            f"{checkpoint} is not the checkpoint of a training.",
            hint="Remove it to train this stage from the start.",
        )
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    if state["settings"] != json.dumps(settings, sort_keys=True):
        raise UsageError(
            f"{checkpoint} belongs to a training with other settings.",
            hint="Give the same settings to go on with it, or another output folder.",
        )
    task.modules.load_state_dict(state["modules"])
    optimiser.load_state_dict(state["optimiser"])
    task.losses = list(state["losses"])
    return int(state["steps_done"])
