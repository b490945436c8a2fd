from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from lineup_models.research.oneforall.losses import NegativeMemory, contrastive_loss

Array = npt.NDArray[np.float64]


def _unit(seed: int, count: int, dimension: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dimension, generator=generator), dim=1)


def _naive(z: Array, y: list[int], tau: float, m: Array, my: list[int]) -> float:
    """Term by term, as the formula stands; small exponents need no care."""
    terms = []
    for i in range(len(y)):
        positives = [p for p in range(len(y)) if p != i and y[p] == y[i]]
        if not positives:
            continue
        below = sum(np.exp(z[i] @ z[j] / tau) for j in range(len(y)) if j != i)
        below += sum(np.exp(z[i] @ m[k] / tau) for k in range(len(my)) if my[k] not in (y[i], -1))
        terms.append(np.mean([np.log(np.exp(z[i] @ z[p] / tau) / below) for p in positives]))
    return float(-np.mean(terms))


def _as_printed(z: Array, y: list[int], tau: float) -> float:
    """Equation 6 as the publication prints it: tau outside of the exponential."""
    terms = []
    for i in range(len(y)):
        below = sum(np.exp(z[i] @ z[j]) / tau for j in range(len(y)) if j != i)
        positives = [p for p in range(len(y)) if p != i and y[p] == y[i]]
        terms.append(np.mean([np.log(np.exp(z[i] @ z[p]) / tau / below) for p in positives]))
    return float(-np.mean(terms))


@pytest.mark.parametrize("tau", [0.1, 0.5, 1.0])
def test_it_is_the_formula_term_by_term(tau: float) -> None:
    z, y = _unit(0, 9), [0, 0, 1, 1, 1, 2, 2, 3, 4]
    memory = NegativeMemory(7, 6)
    memory.push(_unit(1, 5), torch.tensor([0, 5, 1, 6, 7]))

    found = contrastive_loss(z, torch.tensor(y), tau=tau, memory=memory)

    m = memory.embeddings.numpy().astype(np.float64)
    expected = _naive(z.numpy().astype(np.float64), y, tau, m, memory.labels.tolist())
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_the_printed_formula_does_not_depend_on_tau_and_this_one_does() -> None:
    z, y = _unit(0, 8), [0, 0, 1, 1, 2, 2, 3, 3]
    printed = [_as_printed(z.numpy().astype(np.float64), y, tau) for tau in (0.02, 1.0)]
    standard = [contrastive_loss(z, torch.tensor(y), tau=tau).item() for tau in (0.02, 1.0)]

    assert printed[0] == pytest.approx(printed[1], rel=1e-12)
    assert standard[0] > 2 * standard[1]
    assert standard[1] == pytest.approx(printed[1], rel=1e-5)


def test_small_temperatures_stay_finite() -> None:
    z = _unit(0, 6).requires_grad_()
    loss = contrastive_loss(z, torch.tensor([0, 0, 1, 1, 2, 2]), tau=1e-3)
    loss.backward()
    assert torch.isfinite(loss)
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()


def test_anchors_without_positives_do_not_count() -> None:
    z = _unit(0, 4)
    labels = torch.tensor([0, 0, 1, 2])
    found = contrastive_loss(z, labels, tau=0.5).item()
    assert found == pytest.approx(
        _naive(z.numpy().astype(np.float64), [0, 0, 1, 2], 0.5, np.zeros((0, 6)), [])
    )
    assert contrastive_loss(z, torch.arange(4), tau=0.5).item() == 0.0


def test_memory_entries_of_the_same_label_are_no_negatives() -> None:
    z, labels = _unit(0, 4), torch.tensor([0, 0, 1, 1])
    memory = NegativeMemory(4, 6)
    alone = contrastive_loss(z, labels, tau=0.1, memory=memory)
    assert alone == contrastive_loss(z, labels, tau=0.1)
    memory.push(z[:1], torch.tensor([2]))
    assert contrastive_loss(z, labels, tau=0.1, memory=memory) > alone
    same = NegativeMemory(4, 6)
    same.push(z, torch.zeros(4, dtype=torch.int64))
    first = contrastive_loss(z[:2], labels[:2], tau=0.1, memory=same)
    assert first == contrastive_loss(z[:2], labels[:2], tau=0.1)


def test_the_memory_keeps_the_latest_without_gradient() -> None:
    memory = NegativeMemory(3, 6)
    z = _unit(0, 5).requires_grad_()
    memory.push(z[:2], torch.tensor([0, 1]))
    memory.push(z[2:4], torch.tensor([2, 3]))
    assert sorted(memory.labels.tolist()) == [1, 2, 3]
    assert not memory.embeddings.requires_grad
    memory.push(z, torch.arange(5))
    assert sorted(memory.labels.tolist()) == [2, 3, 4]
