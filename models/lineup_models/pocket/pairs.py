"""Pictures that the teacher draws, with the noise and the captions they come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
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
    pixels_from_images,
)
from lineup_models.pocket.generator import latents_from_noise
from lineup_models.pocket.run import SHOWN, Run
from lineup_models.pocket.text import tokens_from_texts
from lineup_models.pocket.world.scene import scene_from_seed
from lineup_models.training import mixed_precision


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
