"""The teacher: a latent diffusion model of the rendered pictures, and what it draws."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from lineup.errors import UsageError
from lineup_models.pictures import write_sheet
from lineup_models.pocket.architectures import SIZE_PX
from lineup_models.pocket.data import (
    PROMPTS_FIRST,
    SEEDS_PER_RUN,
    UINT8,
    drawn_caption,
    filled_arrays,
    images_from_pixels,
    pixels_from_images,
)
from lineup_models.pocket.generator import (
    TIMESTEP_MAX,
    Generator,
    latents_from_noise,
    velocity_target,
)
from lineup_models.pocket.registry import words
from lineup_models.pocket.run import SHOWN, Run, StageTask
from lineup_models.pocket.text import tokens_from_texts
from lineup_models.pocket.world.scene import scene_from_seed
from lineup_models.training import mixed_precision, read_tensors, write_tensors

ENCODED_AT_ONCE = 16


def train_teacher(run: Run) -> dict[str, Any]:
    """Train the teacher; return losses."""
    teacher = run.new("teacher", lambda: Generator(run.preset.teacher_spec, words()))
    return run.trained(TeacherTask(run, teacher), run.preset.teacher.loop)


@torch.no_grad()
def stored_latents(run: Run, name: str, vae_name: str, pictures: UINT8) -> Tensor:
    """Return scaled latents of pictures, float32 (N, C, rows, columns); computed once per name."""
    path = run.output / "latents" / f"{name}.pt"
    if not path.exists():
        vae, found = run.vae(vae_name).to(run.device), []
        for start in range(0, len(pictures), ENCODED_AT_ONCE):
            images = images_from_pixels(pictures[start : start + ENCODED_AT_ONCE], run.device)
            with mixed_precision(run.device, bfloat16=run.preset.vae.bfloat16):
                found.append(vae.latents_from_images(images).float().cpu())
        write_tensors(path, {"latents": torch.cat(found)})
    latents: Tensor = read_tensors(path, name)["latents"]
    return latents


def thing_weights(latents: Tensor, share: float) -> Tensor:
    """Return a weight per cell, mean 1, that is large where there are things.

    Things cover a small part of a picture, and a short training on even weights learns nothing
    but places. Most places look the same along a row: what is far from the median of its row
    tends to be a thing. Of clean latents, float32 (N, C, rows, columns), to (N, 1, rows, columns);
    `share` of the weight goes by the squared distance from the median.
    """
    # By sorting: torch's median is not deterministic on GPUs.
    middle = (latents.shape[3] - 1) // 2
    distance = latents - latents.sort(dim=3).values[..., middle : middle + 1]
    square = distance.square().mean(dim=1, keepdim=True)
    relative = square / square.mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)
    return 1.0 - share + share * relative


class TeacherTask(StageTask[Generator]):
    """Trains a diffusion model by the squared error of v."""

    def __init__(self, run: Run, teacher: Generator) -> None:
        self.options, self.tokenizer, world = run.preset.teacher, run.tokenizer(), run.world()
        super().__init__(run, "teacher", teacher, average_decay=self.options.average_decay)
        self.captions = world.captions
        self.latents = stored_latents(run, "teacher", teacher.spec.vae, world.pictures)

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Return the mean squared error of v; a blind guess of 0 has about 1."""
        options = self.options
        random = self.random(step)
        rows = random.integers(len(self.latents), size=options.pictures)
        captions = [
            ""
            if random.random() < options.silent_share
            else drawn_caption(several, random, options.full_share)
            for several in (self.captions[row] for row in rows)
        ]
        latents = self.latents[torch.from_numpy(rows)]
        noise = torch.from_numpy(random.standard_normal(latents.shape, np.float32))
        # One time from each of equal intervals: a batch sees them all, its loss varies less.
        drawn = (np.arange(len(rows)) + random.random(len(rows))) / len(rows)
        biased = 1.0 - (1.0 - drawn) ** options.noise_bias
        time = torch.from_numpy(biased.astype(np.float32)).to(self.device)
        noisy, velocity = velocity_target(latents.to(self.device), noise.to(self.device), time)
        tokens = tokens_from_texts(self.tokenizer, captions).to(self.device)
        with mixed_precision(self.device, bfloat16=options.bfloat16):
            found = self.model(noisy, TIMESTEP_MAX * time, tokens)
        errors = F.mse_loss(found.float(), velocity, reduction="none")
        weights = thing_weights(latents.to(self.device), options.things_share)
        errors = (errors * weights).mean(dim=(1, 2, 3))
        parts = {"noisiest_half": errors[len(rows) // 2 :].mean().item()}
        return errors.mean(), parts


@dataclass(frozen=True, slots=True)
class Pairs:
    """What the teacher drew of noise (N, C, rows, columns) and captions' tokens (N, length)."""

    noise: npt.NDArray[np.float32]
    tokens: npt.NDArray[np.int64]
    pictures: UINT8


def draw_pairs(run: Run) -> dict[str, Any]:
    """Let the teacher draw what the students learn from; go on where it was interrupted."""
    folder = run.output / "pairs"
    tokens = tokens_from_texts(run.tokenizer(), _prompts(run))
    _draw(run, folder, tokens)
    # Written last: says that all is there.
    np.save(folder / "tokens.npy", tokens.numpy())
    pictures = read_pairs(folder).pictures
    sheet = run.output / "sheets" / "teacher.png"
    write_sheet(sheet, [pictures[:SHOWN], pictures[-SHOWN:]])
    return {"pairs": len(pictures)}


def _prompts(run: Run) -> list[str]:
    """Return captions of scenes that need not be rendered."""
    first, options = run.seed * SEEDS_PER_RUN + PROMPTS_FIRST, run.preset.pairs
    random = np.random.default_rng(first)
    return [
        drawn_caption(scene_from_seed(first + number).captions(), random, options.full_share)
        for number in range(options.pairs)
    ]


@torch.no_grad()
def _draw(run: Run, folder: Path, tokens: Tensor) -> None:
    options, device = run.preset.pairs, run.device
    vae, teacher = run.vae(run.preset.teacher_spec.vae).to(device), run.teacher().to(device)
    empty, seed = tokens_from_texts(run.tokenizer(), [""]).to(device), run.seed_of("pairs")
    shape = vae.spec.latent_shape(SIZE_PX)
    arrays: dict[str, tuple[npt.DTypeLike, tuple[int, ...]]] = {
        "pictures": (np.uint8, (SIZE_PX, SIZE_PX, 3)),
        "noise": (np.float32, shape),
    }
    for rows, files in filled_arrays(folder, len(tokens), options.at_once, arrays, run.watch):
        some, random = slice(rows.start, rows.stop), np.random.default_rng([seed, rows.start])
        noise = random.standard_normal((len(rows), *shape), np.float32)
        given = torch.from_numpy(noise).to(device), tokens[some].to(device)
        with mixed_precision(device, bfloat16=options.bfloat16):
            latents = latents_from_noise(teacher, *given, empty, options.sampling)
            pictures = pixels_from_images(vae.images_from_latents(latents))
        files["noise"][some], files["pictures"][some] = noise, pictures


def read_pairs(folder: Path) -> Pairs:
    """Return what `draw_pairs` left in `folder`, if it came to its end; pictures stay on disk."""
    if not (folder / "tokens.npy").exists():
        raise UsageError(
            f"{folder} has no pictures of the teacher.", hint="Go through stage pairs first."
        )
    noise, pictures = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("noise", "pictures")
    )
    return Pairs(noise, np.load(folder / "tokens.npy"), pictures)
