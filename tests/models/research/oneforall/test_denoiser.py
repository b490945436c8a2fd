from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lineup_models.research.oneforall.denoiser import (
    PUBLISHED_DENOISER,
    Denoiser,
    DenoiserOptions,
    DenoiserSpec,
    DenoiserTask,
    denoiser_from_spec,
)
from lineup_models.training import LoopOptions, run_task

CPU = torch.device("cpu")


def test_the_published_size() -> None:
    layers = list(Denoiser(PUBLISHED_DENOISER).layers)
    convolutions = [layer for layer in layers if isinstance(layer, torch.nn.Conv2d)]
    norms = [layer for layer in layers if isinstance(layer, torch.nn.BatchNorm2d)]
    assert len(convolutions) == 17
    assert {layer.out_channels for layer in convolutions[:-1]} == {64}
    assert len(norms) == 15


def test_it_learns_to_find_noise(photos: Path, tmp_path: Path) -> None:
    denoiser = denoiser_from_spec(DenoiserSpec(depth=3, width=8), seed=0)
    loop = LoopOptions(100, 1e-2, warmup_steps=5, checkpoint_steps=100)
    options = DenoiserOptions(loop, 24, 2, 4, sigma_min=8.0, sigma_max=16.0)
    paths = sorted(photos.iterdir())[:4]
    task = DenoiserTask(denoiser, paths, options, seed=0, device=CPU)

    run_task(task, loop, tmp_path)

    last = float(np.mean([losses["total"] for losses in task.losses[-10:]]))
    assert last < 0.6  # no denoising at all is 1
    noise = 12 * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    flat = torch.full((1, 3, 32, 32), 128.0)
    with torch.no_grad():
        residual = denoiser(flat + noise)
    assert residual.shape == flat.shape
    assert torch.corrcoef(torch.stack([residual.flatten(), noise.flatten()]))[0, 1] > 0.8


def test_a_step_depends_on_seed_and_number_alone(photos: Path) -> None:
    options = DenoiserOptions(crop_px=16, photographs_per_step=2, crops_per_photograph=2)
    paths = sorted(photos.iterdir())

    def loss(seed: int, step: int) -> float:
        denoiser = denoiser_from_spec(DenoiserSpec(3, 4), seed=0)
        task = DenoiserTask(denoiser, paths, options, seed=seed, device=CPU)
        return task.loss(step)[0].item()

    assert loss(0, 5) == loss(0, 5)
    assert len({loss(0, 5), loss(0, 6), loss(1, 5)}) == 3
