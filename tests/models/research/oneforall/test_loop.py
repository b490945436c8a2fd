from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lineup.errors import BundleFormatError, UsageError
from lineup_models.training import LoopOptions, Task, learning_rate_at, run_task

OPTIONS = LoopOptions(steps=6, learning_rate=0.1, warmup_steps=2, checkpoint_steps=2)


class _Slope(Task):
    """Finds the slope of a line; `fails_at` makes the loss infinite in that step."""

    def __init__(self, settings: dict[str, int], fails_at: int = -1) -> None:
        super().__init__("slope", nn.Linear(1, 1), settings)
        for parameter in self.modules.parameters():
            nn.init.zeros_(parameter)
        self.fails_at = fails_at

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        x = torch.arange(3.0)[:, None] + step
        error = (self.modules(x) - 2 * x).square().mean()
        return (error / 0 if step == self.fails_at else error), {"error": error.item()}


def test_checkpoints_are_of_their_run_alone(tmp_path: Path) -> None:
    run_task(_Slope({"width": 1}), OPTIONS, tmp_path)
    again = _Slope({"width": 1})
    run_task(again, OPTIONS, tmp_path)  # nothing is left to do
    assert len(again.losses) == 6
    assert again.modules.weight.item() != 0
    with pytest.raises(UsageError, match="other settings"):
        run_task(_Slope({"width": 2}), OPTIONS, tmp_path)
    (tmp_path / "slope.checkpoint.pt").write_text("nothing")
    with pytest.raises(BundleFormatError, match=r"slope\.checkpoint\.pt"):
        run_task(_Slope({"width": 1}), OPTIONS, tmp_path)


def test_a_loss_that_is_no_number_ends_the_run_with_the_last_checkpoint_kept(
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match="inf at step 3"):
        run_task(_Slope({}, fails_at=3), OPTIONS, tmp_path)
    resumed, whole = _Slope({}), _Slope({})
    run_task(resumed, OPTIONS, tmp_path)
    run_task(whole, OPTIONS, tmp_path / "whole")
    assert [row["error"] for row in resumed.losses[2:]] == [
        row["error"] for row in whole.losses[2:]
    ]


def test_the_learning_rate_warms_up_and_ends_low() -> None:
    rates = [learning_rate_at(step, OPTIONS) for step in range(7)]
    assert rates[0] == pytest.approx(0.05)
    assert rates[1] == max(rates)
    assert rates[6] == pytest.approx(0.001)
