from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lineup.errors import UsageError
from lineup_models.research.oneforall.batches import (
    BankSource,
    BatchShape,
    draw_from_seed,
)
from lineup_models.simulator.bank_reader import Bank

SHAPE = BatchShape(models=4, images_per_model=3, photographs=2, single_share=0.5)


def test_a_draw_is_known_by_its_seed() -> None:
    draws = [draw_from_seed([7, step], SHAPE, models=50, photographs=40) for step in range(20)]
    again = [draw_from_seed([7, step], SHAPE, models=50, photographs=40) for step in range(20)]
    assert draws == again
    assert len({draw.models for draw in draws}) == 20
    assert {draw.single for draw in draws} == {True, False}


def test_multiple_sets_never_show_a_photograph_twice() -> None:
    shape = replace(SHAPE, single_share=0.0)
    for seed in range(10):
        draw = draw_from_seed(seed, shape, models=5, photographs=14)
        shown = [image for row in draw.images for image in row] + list(draw.photographs)
        assert sorted(shown) == list(range(14))
        assert len(set(draw.models)) == 4


def test_a_single_set_gives_all_generators_the_same_photographs() -> None:
    shape = replace(SHAPE, single_share=1.0)
    draw = draw_from_seed(3, shape, models=5, photographs=5)
    assert len(set(draw.images)) == 1
    assert len(draw.images) == 4
    assert not set(draw.images[0]) & set(draw.photographs)


def test_too_little_to_draw_from_is_said() -> None:
    with pytest.raises(UsageError, match="4 generators, but there are 3"):
        draw_from_seed(0, SHAPE, models=3, photographs=40)
    with pytest.raises(UsageError, match="14 photographs, but there are 13"):
        draw_from_seed(0, replace(SHAPE, single_share=0.0), models=5, photographs=13)


@pytest.mark.parametrize("single", [0.0, 1.0])
def test_batches_of_a_bank_have_the_rows_of_their_labels(bank: Bank, single: float) -> None:
    source = BankSource(bank, degraded_share=0.0)
    shape = BatchShape(models=3, images_per_model=2, photographs=4, single_share=single)

    batch = source.batch([1, 2], shape)

    positions = [int(np.flatnonzero((bank.clean == row).all(1))[0]) for row in batch.rows.numpy()]
    assert bank.model[positions[:6]].tolist() == batch.labels[:6].tolist()
    assert bank.shared[positions[:6]].tolist() == [single == 1.0] * 6
    assert bank.is_photograph[positions[6:]].all()
    assert batch.generated.tolist() == [True] * 6 + [False] * 4
    assert len(set(batch.labels[6:].tolist()) | set(range(5))) == 9
    assert torch.equal(batch.rows, source.batch([1, 2], shape).rows)


def test_a_share_of_the_images_comes_degraded(bank: Bank) -> None:
    source = BankSource(bank, degraded_share=0.5)
    shape = BatchShape(models=5, images_per_model=2, photographs=6)
    rows = torch.cat([source.batch([step], shape).rows for step in range(20)])
    share = (rows.mean(1) > 50).float().mean().item()  # the fixture's are moved by 100
    assert share == pytest.approx(0.5, abs=0.12)


def test_a_bank_that_is_too_small_is_said(bank: Bank) -> None:
    source = BankSource(bank, degraded_share=0.0)
    with pytest.raises(UsageError, match="2 images for multiple-set"):
        source.batch([0], BatchShape(models=3, images_per_model=3, photographs=2, single_share=0))
