"""Stages of the pocket training that need no teacher: pictures, words, VAEs, CLIP, captioner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lineup.files import write_atomic
from lineup_models.pictures import write_sheet
from lineup_models.pocket.captioner import Captioner
from lineup_models.pocket.captioner_training import CaptionerTask, greedy_captions, shares_right
from lineup_models.pocket.clip import Clip
from lineup_models.pocket.clip_training import ClipTask, retrieval_accuracy
from lineup_models.pocket.data import (
    HELD_OUT_FIRST,
    SEEDS_PER_RUN,
    World,
    fill_world,
    images_from_pixels,
    pixels_from_images,
    read_world,
)
from lineup_models.pocket.presets import Preset
from lineup_models.pocket.registry import (
    TOKENIZER_NAME,
    load_captioner,
    load_clip,
    load_tokenizer,
    load_vae,
    weights_path,
    words,
    write_model,
)
from lineup_models.pocket.text import tokenizer_from_vocabulary
from lineup_models.pocket.vae import Vae
from lineup_models.pocket.vae_training import VaeTask, note_latent_statistics
from lineup_models.pocket.world import VOCABULARY
from lineup_models.training import (
    Task,
    Watch,
    check_made,
    claimed_record,
    initialised,
    run_task,
    seed_of,
)

SHOWN = 8
"""Pictures in a row of a sheet."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """One run of a preset.

    Attributes:
        preset: Everything a training is made with.
        seed: Of everything random.
        device: Where to compute, e.g. "cpu" or "cuda".
        workers: Processes that render pictures.
    """

    preset: Preset
    seed: int = 0
    device: str = "cpu"
    workers: int = 2


class Stages:
    """The first stages of a run, and what lies in its folder.

    Args:
        options: The preset and its seed.
        output: Folder of the run.
        watch: Wraps the steps of each stage.

    Raises:
        UsageError: The folder holds another run.
    """

    def __init__(self, options: RunOptions, output: Path, watch: Watch) -> None:
        self.options, self.output, self.watch = options, output, watch
        self.preset, self.device = options.preset, torch.device(options.device)
        settings = {"preset": asdict(self.preset), "seed": options.seed, "device": options.device}
        claimed_record(output, settings)

    def render(self) -> Mapping[str, Any]:
        """Render the pictures; return their numbers."""
        first = self.options.seed * SEEDS_PER_RUN
        counts = {"training": self.preset.pictures, "held-out": self.preset.held_out}
        for name, offset in (("training", 0), ("held-out", HELD_OUT_FIRST)):
            fill_world(
                self.output / "world" / name,
                first + offset,
                counts[name],
                workers=self.options.workers,
                watch=self.watch,
            )
        return counts

    def write_tokenizer(self) -> Mapping[str, Any]:
        """Write the tokenizer of all models."""
        tokenizer = tokenizer_from_vocabulary(VOCABULARY)
        write_atomic(self.output / TOKENIZER_NAME, tokenizer.to_str(pretty=True).encode())
        return {"words": tokenizer.get_vocab_size()}

    def world(self, name: str = "training") -> World:
        """Return the rendered pictures, those to learn from or those held out."""
        return read_world(self.output / "world" / name)

    def tokenizer(self) -> Any:
        """Return the tokenizer that the stage of that name wrote."""
        check_made(self.output / TOKENIZER_NAME, "tokenizer")
        return load_tokenizer(self.output)

    def seed(self, name: str) -> int:
        """Return the seed of one part of the run."""
        return seed_of(self.options.seed, name)

    def new(self, name: str, make: Callable[[], Any]) -> Any:
        """Return an untrained model."""
        return initialised(make, self.options.seed, name)

    def trained(self, task: Task, loop: Any) -> dict[str, Any]:
        """Run a task; return the means of its last losses."""
        run_task(task, loop, self.output, watch=self.watch)
        last = task.losses[-50:]
        means = {name: float(np.mean([losses[name] for losses in last])) for name in last[0]}
        return {
            "steps": len(task.losses),
            "losses_last_50_steps": {name: round(mean, 5) for name, mean in means.items()},
        }

    def train_vae(self, name: str) -> Mapping[str, Any]:
        """Train an autoencoder; return losses and PSNR of some held-out pictures."""
        preset, step = self.preset, f"vae-{name}"
        spec = preset.vaes[name]
        vae_steps = preset.vae_steps.get(name, preset.vae.loop.steps)
        options = replace(preset.vae, loop=replace(preset.vae.loop, steps=vae_steps))
        vae = self.new(step, lambda: Vae(spec))
        pictures, shown = self.world().pictures, self.world("held-out").pictures[:SHOWN]
        task = VaeTask(step, vae, pictures, options, seed=self.seed(step), device=self.device)
        figures = self.trained(task, options.loop)
        note_latent_statistics(vae, pictures, self.device)
        write_model(weights_path(self.output, step), "vae", spec, vae, record=figures)
        stored = load_vae(self.output, name)
        with torch.no_grad():
            latents = stored.encoder(images_from_pixels(shown, torch.device("cpu")))
            again = pixels_from_images(stored.decoder(latents))
        write_sheet(self.output / "sheets" / f"{step}.png", [shown, again])
        return {**figures, "psnr_db": _psnr_db(shown, again)}

    def train_clip(self) -> Mapping[str, Any]:
        """Train the CLIP; return losses and accuracy on held-out pictures."""
        preset, tokenizer = self.preset, self.tokenizer()
        clip = self.new("clip", lambda: Clip(preset.clip_spec, words()))
        task = ClipTask(
            clip, self.world(), tokenizer, preset.clip, seed=self.seed("clip"), device=self.device
        )
        figures = self.trained(task, preset.clip.loop)
        path = weights_path(self.output, "clip")
        write_model(path, "clip", preset.clip_spec, clip, words=words(), record=figures)
        world = self.world("held-out")
        found = retrieval_accuracy(
            load_clip(self.output).to(self.device), world, tokenizer, self.device
        )
        return {**figures, "held_out": len(world.captions), "own_caption_first": round(found, 4)}

    def train_captioner(self) -> Mapping[str, Any]:
        """Train the captioner; return losses and accuracy on held-out pictures."""
        preset, tokenizer = self.preset, self.tokenizer()
        spec = preset.captioner_spec
        captioner = self.new("captioner", lambda: Captioner(spec, words()))
        seed = self.seed("captioner")
        task = CaptionerTask(
            captioner, self.world(), tokenizer, preset.captioner, seed=seed, device=self.device
        )
        figures = self.trained(task, preset.captioner.loop)
        path = weights_path(self.output, "captioner")
        write_model(path, "captioner", spec, captioner, words=words(), record=figures)
        world, stored = self.world("held-out"), load_captioner(self.output).to(self.device)
        captions = []
        for start in range(0, len(world.captions), 32):
            some = world.pictures[start : start + 32]
            captions += greedy_captions(stored, some, tokenizer, self.device)
        right = shares_right(captions, [several[0] for several in world.captions])
        shares = {name: round(share, 4) for name, share in right.items()}
        return {**figures, "held_out": len(captions), "right": shares}


def _psnr_db(first: Any, second: Any) -> float:
    error = np.mean((first.astype(np.float64) - second.astype(np.float64)) ** 2)
    return round(float(10.0 * np.log10(255.0**2 / error)), 2)
