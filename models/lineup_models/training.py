"""What every training shares: where it computes, its random state, its steps, its folder.

Same seed, device and library versions give the same bits, interrupted or not.
"""

from __future__ import annotations

import io
import json
import math
import os
import platform
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar
from zipfile import is_zipfile

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from lineup._version import __version__
from lineup.errors import BundleFormatError, UsageError
from lineup.files import write_atomic


def device_named(name: str) -> str:
    """Return `name` when torch can compute there; raise UsageError when it cannot."""
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"torch cannot compute on {name!r}: {str(error).splitlines()[0]}",
            hint="Choose --device cpu, or install a torch build for this machine's GPU.",
        ) from error
    return name


@contextmanager
def computing(*, threads: int | None = None) -> Iterator[None]:
    """Keep torch to `threads` CPU threads for the length of the block; None leaves its number."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def deterministic(*, threads: int | None = None) -> Iterator[None]:
    """`computing`, with algorithms that give the same bits again."""
    before = torch.are_deterministic_algorithms_enabled()
    # cuBLAS reads it when its first handle is made.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    try:
        with computing(threads=threads):
            yield
    finally:
        torch.use_deterministic_algorithms(before)


def mixed_precision(device: torch.device, *, bfloat16: bool) -> torch.autocast:
    """Return a context in which convolutions and products are computed in bfloat16, if asked."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16)


Made = TypeVar("Made")
Model = TypeVar("Model", bound=nn.Module)
Item = TypeVar("Item")


def seed_of(seed: int, name: str) -> int:
    """Return a seed for one part of a run, 0..2^32 - 1."""
    return zlib.crc32(f"{name}:{seed}".encode())


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch draw from `seed` in the block; the caller's random state is not ours to move."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def initialised(make: Callable[[], Made], seed: int, name: str) -> Made:
    """Return what `make` draws from `seed_of` both."""
    with seeded(seed_of(seed, name)):
        return make()


def average_of(model: Model) -> Model:
    """Return a frozen copy that `follow` keeps behind the model."""
    copy = deepcopy(model)
    copy.eval().requires_grad_(False)
    return copy


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the average towards the model; in the first steps by more, as it starts from chance."""
    kept = min(decay, (1 + step) / (10 + step))
    for old, new in zip(average.parameters(), model.parameters(), strict=True):
        old.lerp_(new, 1.0 - kept)
    for kept_buffer, buffer in zip(average.buffers(), model.buffers(), strict=True):
        kept_buffer.copy_(buffer)


GRADIENT_NORM_MAX = 1.0


class Watch(Protocol):
    """Wraps the steps of a stage while they are gone through, e.g. with a progress bar."""

    def __call__(self, name: str, items: Iterable[Item]) -> Iterable[Item]:
        """Yield `items`; `name` is that of the stage."""


def plainly(name: str, items: Iterable[Item]) -> Iterable[Item]:
    """Go through `items` without showing anything: the `Watch` where none is given."""
    del name
    return items


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """How a stage goes through its steps.

    Attributes:
        steps: Weight updates.
        learning_rate: Highest; reached after the warm-up, then lowered to 1 % along a cosine.
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

    def last_losses(self) -> dict[str, float]:
        """Return the means of the losses over the last 50 steps."""
        last = self.losses[-50:]
        return {
            name: round(float(np.mean([losses[name] for losses in last])), 5) for name in last[0]
        }

    def after_step(self, step: int) -> None:
        """Do what follows the update of `step`; nothing by default."""
        del step


def learning_rate_at(step: int, options: LoopOptions) -> float:
    """Return the learning rate of a step: linear warm-up, then a cosine down to 1 %."""
    warm = min(1.0, (step + 1) / max(options.warmup_steps, 1))
    cosine = 0.5 * (1.0 + math.cos(math.pi * step / options.steps))
    return options.learning_rate * warm * (0.01 + 0.99 * cosine)


def run_task(task: Task, options: LoopOptions, output: Path, *, watch: Watch = plainly) -> None:
    """Go through all steps; go on where an interrupted run stopped.

    An interrupted and resumed run gives the weights of an uninterrupted one on the same device
    and library versions.

    Args:
        task: What to train; its modules are changed.
        options: Steps and learning rate.
        output: Folder for `NAME.checkpoint.pt` and `NAME.losses.json`.
        watch: Wraps the steps.

    Raises:
        BundleFormatError: The checkpoint in the folder is none.
        UsageError: It is of a run with other settings.
    """
    trained = [parameter for parameter in task.modules.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=0.0, weight_decay=options.weight_decay)
    checkpoint = output / f"{task.name}.checkpoint.pt"
    settings = {"loop": asdict(options), **task.settings}
    first = _restored(task, optimiser, checkpoint, settings) if checkpoint.exists() else 0
    for step in watch(task.name, range(first, options.steps)):
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
            state = {
                "settings": json.dumps(settings, sort_keys=True),
                "steps_done": step + 1,
                "modules": task.modules.state_dict(),
                "optimiser": optimiser.state_dict(),
                "losses": task.losses,
            }
            write_tensors(checkpoint, state)
            write_atomic(losses_path(output, task.name), json.dumps(task.losses).encode())


def losses_path(output: Path, name: str) -> Path:
    """Return where a stage leaves its losses, a JSON list with an object per step."""
    return output / f"{name}.losses.json"


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


RECORD_NAME = "training.json"


def claimed_record(output: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of the folder's run; begin one where there is none.

    `settings` are plain JSON values that make two runs the same; a folder that holds a run of
    other ones is a UsageError.
    """
    settings = json.loads(json.dumps(settings))
    path = output / RECORD_NAME
    if path.exists():
        stored: dict[str, Any] = json.loads(path.read_text())
        if {name: stored.get(name) for name in settings} != settings:
            raise UsageError(
                f"{output} holds a training of other options or photographs.",
                hint="Give the same ones to go on with it, or another --output.",
            )
        return stored
    record = {**settings, "tools": tool_versions(), "seconds": {}, "losses_last_50_steps": {}}
    write_record(output, record)
    return record


def tool_versions() -> dict[str, str]:
    """Return the versions of what the numbers of a training depend on."""
    return {
        "lineup": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }


def write_record(output: Path, record: Mapping[str, Any]) -> None:
    """Write the record of a run."""
    write_atomic(output / RECORD_NAME, json.dumps(record, indent=1).encode())


def write_tensors(path: Path, tensors: Mapping[str, Any]) -> None:
    """Write tensors by name, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(dict(tensors), buffer)
    write_atomic(path, buffer.getvalue())


def read_tensors(path: Path, stage: str) -> dict[str, Any]:
    """Read what a stage wrote; raise UsageError when it has not been gone through."""
    check_made(path, stage)
    state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    return state


def check_made(path: Path, stage: str) -> None:
    """Raise UsageError when a file that a stage makes is not there."""
    if not path.is_file():
        raise UsageError(
            f"{path} is not there; stage {stage} makes it.",
            hint=f"Go through stage {stage} first, or leave --stages out to go through all.",
        )
