"""A run of the pocket training: its folder, its seeds, and what every stage does there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from lineup_models.pocket.data import World, read_world
from lineup_models.pocket.generator import Generator
from lineup_models.pocket.presets import Preset
from lineup_models.pocket.registry import (
    TOKENIZER_NAME,
    Made,
    load_generator,
    load_tokenizer,
    load_vae,
    weights_path,
    write_model,
)
from lineup_models.pocket.vae import Vae
from lineup_models.training import (
    LoopOptions,
    Task,
    Watch,
    average_of,
    check_made,
    claimed_record,
    follow,
    initialised,
    plainly,
    run_task,
    seed_of,
)

SHOWN = 8
"""Pictures in a row of a sheet."""


class Run:
    """One training of a preset, and what lies in its folder.

    Args:
        preset: Everything it is made with.
        output: Folder of the run; a UsageError where it holds another one.
        seed: Of everything random.
        device: Where to compute, e.g. "cpu" or "cuda".
        workers: Processes that render pictures.
        watch: Wraps the steps of each stage.
    """

    def __init__(
        self,
        preset: Preset,
        output: Path,
        *,
        seed: int = 0,
        device: str = "cpu",
        workers: int = 2,
        watch: Watch = plainly,
    ) -> None:
        self.preset, self.output, self.seed = preset, output, seed
        self.device, self.workers, self.watch = torch.device(device), workers, watch
        claimed_record(output, {"preset": asdict(preset), "seed": seed, "device": device})

    def seed_of(self, name: str) -> int:
        """Return the seed of one part of the run."""
        return seed_of(self.seed, name)

    def world(self, name: str = "training") -> World:
        """Return the rendered pictures, those to learn from or those held out."""
        return read_world(self.output / "world" / name)

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer that the stage of that name wrote."""
        check_made(self.output / TOKENIZER_NAME, "tokenizer")
        return load_tokenizer(self.output)

    def vae(self, name: str) -> Vae:
        """Return a trained autoencoder."""
        check_made(weights_path(self.output, f"vae-{name}"), f"vae-{name}")
        return load_vae(self.output, name)

    def teacher(self) -> Generator:
        """Return the trained teacher."""
        check_made(weights_path(self.output, "teacher"), "teacher")
        return load_generator(self.output, "teacher")

    def new(self, name: str, make: Callable[[], Made]) -> Made:
        """Return an untrained model, in training mode on the run's device."""
        model = initialised(make, self.seed, name)
        model.to(self.device).train()
        return model

    def trained(self, task: StageTask[Any], loop: LoopOptions) -> dict[str, Any]:
        """Go through all steps of a task, write its model; return the means of its last losses."""
        run_task(task, loop, self.output, watch=self.watch)
        figures = {"steps": len(task.losses), "losses_last_50_steps": task.last_losses()}
        write_model(weights_path(self.output, task.name), task.finished(), figures)
        return figures


class StageTask(Task, Generic[Made]):
    """Trains a model of a run; everything random follows from the seed and the step's number.

    The folder of the run has told already that seed and options are those of before. With an
    `average_decay` it is the running average of the weights that counts in the end.
    """

    def __init__(self, run: Run, name: str, model: Made, *, average_decay: float = 0.0) -> None:
        self.seed, self.device = run.seed_of(name), run.device
        self.model, self.average_decay = model, average_decay
        self.average = average_of(model) if average_decay else None
        modules: nn.Module = model
        if self.average is not None:
            modules = nn.ModuleDict({"model": model, "average": self.average})
        super().__init__(name, modules, {})

    def finished(self) -> Made:
        """Return the model after the last step."""
        return self.model if self.average is None else self.average

    def random(self, step: int) -> np.random.Generator:
        """Return what draws everything random of a step."""
        return np.random.default_rng([self.seed, step])

    def after_step(self, step: int) -> None:
        """Let the average follow."""
        if self.average is not None:
            follow(self.average, self.model, self.average_decay, step)
