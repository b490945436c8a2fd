"""Sheets of sample pictures, for a person to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from lineup.files import write_atomic
from lineup_models.pocket.data import UINT8, pixels_from_images
from lineup_models.pocket.generator import Generator
from lineup_models.pocket.student_training import FIRST_TIMESTEP, signal_shares
from lineup_models.pocket.vae import Vae

ONCE_AT_MOST = 8


def write_sheet(path: Path, rows: Sequence[UINT8]) -> None:
    """Write rows of pictures, each uint8 (N, H, W, 3), as one PNG."""
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
    _, coded = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    write_atomic(path, coded.tobytes())


@torch.no_grad()
def pictures_of_generator(
    generator: Generator, vae: Vae, noise: torch.Tensor, tokens: torch.Tensor
) -> UINT8:
    """Return what a generator draws in one step, uint8 (N, 256, 256, 3).

    Args:
        generator: In evaluation mode, on the CPU.
        vae: Its autoencoder.
        noise: float32 (N, C, rows, columns), unit normal.
        tokens: int64 (N, length).
    """
    share = (1.0 - signal_shares()[FIRST_TIMESTEP]).sqrt()
    found = []
    for start in range(0, len(noise), ONCE_AT_MOST):
        some = slice(start, start + ONCE_AT_MOST)
        timestep = torch.full((len(noise[some]),), float(FIRST_TIMESTEP))
        latents = generator(share * noise[some], timestep, tokens[some])
        found.append(pixels_from_images(vae.images_from_latents(latents)))
    return np.concatenate(found)
