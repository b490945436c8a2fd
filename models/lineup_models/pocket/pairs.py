"""Pictures that the teacher draws, with the noise and the captions they come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.format import open_memmap
from tokenizers import Tokenizer
from torch import Tensor

from lineup.errors import UsageError
from lineup.files import write_atomic
from lineup_models.pocket.architectures import SIZE_PX
from lineup_models.pocket.data import UINT8, drawn_caption, pixels_from_images, scene_captions
from lineup_models.pocket.generator import Generator, SamplingOptions, latents_from_noise
from lineup_models.pocket.text import LENGTH, tokens_from_texts
from lineup_models.pocket.vae import Vae
from lineup_models.training import Watch, mixed_precision, plainly


@dataclass(frozen=True, slots=True)
class PairsOptions:
    """How many pictures the teacher draws, and how.

    Attributes:
        pairs: Their number.
        sampling: Steps and guidance.
        full_share: Share of prompts that are the most detailed caption of a scene.
        at_once: Pictures of a batch.
        bfloat16: Compute in bfloat16 where that is exact enough.
    """

    pairs: int = 6000
    sampling: SamplingOptions = SamplingOptions()  # noqa: RUF009 - frozen
    full_share: float = 0.8
    at_once: int = 40
    bfloat16: bool = False


@dataclass(frozen=True, slots=True)
class Pairs:
    """What the teacher drew.

    Attributes:
        noise: float32 (N, C, rows, columns), the teacher's.
        tokens: int64 (N, length), the captions.
        pictures: uint8 (N, 256, 256, 3).
    """

    noise: npt.NDArray[np.float32]
    tokens: npt.NDArray[np.int64]
    pictures: UINT8


class Painter:
    """The teacher and what it needs to draw pictures.

    Args:
        teacher: In evaluation mode.
        vae: Its autoencoder, in evaluation mode.
        tokenizer: Of the captions.
        options: How to draw.
        device: Where to compute.
    """

    def __init__(
        self,
        teacher: Generator,
        vae: Vae,
        tokenizer: Tokenizer,
        options: PairsOptions,
        device: torch.device,
    ) -> None:
        self.teacher, self.vae = teacher.to(device), vae.to(device)
        self.options, self.device = options, device
        self.empty = tokens_from_texts(tokenizer, [""]).to(device)

    @property
    def noise_shape(self) -> tuple[int, int, int]:
        """Return the shape of the noise of a picture."""
        side = SIZE_PX // self.vae.spec.factor
        return self.vae.spec.latent_channels, side, side

    @torch.no_grad()
    def pictures(self, noise: Tensor, tokens: Tensor) -> UINT8:
        """Return pictures, uint8 (N, 256, 256, 3), of noise and captions."""
        device = self.device
        with mixed_precision(device, bfloat16=self.options.bfloat16):
            latents = latents_from_noise(
                self.teacher, noise.to(device), tokens.to(device), self.empty, self.options.sampling
            )
            return pixels_from_images(self.vae.images_from_latents(latents))


def prompts_from_seed(first_seed: int, count: int, full_share: float) -> list[str]:
    """Return captions of `count` scenes that need not be rendered."""
    random = np.random.default_rng(first_seed)
    return [
        drawn_caption(scene_captions(first_seed + number), random, full_share)
        for number in range(count)
    ]


def fill_pairs(
    folder: Path,
    painter: Painter,
    tokenizer: Tokenizer,
    *,
    seed: int,
    prompts_first: int,
    watch: Watch = plainly,
) -> None:
    """Let the teacher draw pictures into `folder`; go on where it was interrupted.

    Args:
        folder: For `pictures.npy`, `noise.npy`, `tokens.npy` and the number done.
        painter: The teacher.
        tokenizer: Of the prompts.
        seed: Of the noise.
        prompts_first: Seed of the first scene whose caption is a prompt.
        watch: Wraps the batches.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options, progress = painter.options, folder / "done.txt"
    done = int(progress.read_text()) if progress.exists() else 0
    tokens = tokens_from_texts(
        tokenizer, prompts_from_seed(prompts_first, options.pairs, options.full_share)
    )
    mode: Any = "r+" if done else "w+"
    shapes = {"pictures": (SIZE_PX, SIZE_PX, 3), "noise": painter.noise_shape}
    arrays = {
        name: open_memmap(
            folder / f"{name}.npy",
            mode=mode,
            dtype=np.uint8 if name == "pictures" else np.float32,
            shape=(options.pairs, *shape),
        )
        for name, shape in shapes.items()
    }
    starts = range(done, options.pairs, options.at_once)
    for start in watch("pairs", starts):
        stop = min(start + options.at_once, options.pairs)
        random = np.random.default_rng([seed, start])
        noise = random.standard_normal((stop - start, *painter.noise_shape), np.float32)
        arrays["noise"][start:stop] = noise
        arrays["pictures"][start:stop] = painter.pictures(
            torch.from_numpy(noise), tokens[start:stop]
        )
        for array in arrays.values():
            array.flush()
        write_atomic(progress, str(stop).encode())
    # Written last: says that all is there.
    np.save(folder / "tokens.npy", tokens.numpy())


def read_pairs(folder: Path) -> Pairs:
    """Return what `fill_pairs` left in `folder`; the pictures stay on disk.

    Raises:
        UsageError: It has not come to its end.
    """
    if not (folder / "tokens.npy").exists():
        raise UsageError(
            f"{folder} has no pictures of the teacher.", hint="Go through stage pairs first."
        )
    tokens = np.load(folder / "tokens.npy")
    assert tokens.shape[1] == LENGTH
    noise = np.load(folder / "noise.npy", mmap_mode="r")
    return Pairs(noise, tokens, np.load(folder / "pictures.npy", mmap_mode="r"))
