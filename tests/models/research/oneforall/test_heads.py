from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812

from lineup_models.research.oneforall.losses import (
    PairHead,
    RealHead,
    mined_pairs,
    pair_loss,
    real_loss,
)

EMBEDDINGS = F.normalize(torch.randn(12, 8, generator=torch.Generator().manual_seed(0)), dim=1)
LABELS = torch.arange(4).repeat_interleave(3)


def _trained(head: PairHead | RealHead) -> None:
    """Let the part that starts at zero say something."""
    torch.manual_seed(0)
    torch.nn.init.normal_(head.out.weight)


def test_the_pair_head_is_symmetric() -> None:
    head = PairHead(8, width=4)
    _trained(head)
    first, second = EMBEDDINGS[:6], EMBEDDINGS[6:]
    assert torch.equal(head(first, second), head(second, first))
    assert not torch.allclose(head(first, second), head(first, first))


def test_untrained_it_ranks_as_the_cosine_does() -> None:
    head = PairHead(8)
    logits = head(EMBEDDINGS[:6], EMBEDDINGS[6:])
    cosine = (EMBEDDINGS[:6] * EMBEDDINGS[6:]).sum(1)
    assert torch.equal(logits.argsort(), cosine.argsort())


def test_mined_pairs_are_balanced_and_half_of_the_negatives_are_the_hardest() -> None:
    pairs = mined_pairs(EMBEDDINGS, LABELS, generator=torch.Generator().manual_seed(0))
    same = LABELS[pairs.first] == LABELS[pairs.second]
    assert torch.equal(same.float(), pairs.same)
    assert same.sum() == 12  # every pair of one generator: 4 x 3
    assert (~same).sum() == 12
    assert len(set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))) == 24
    cosine = (EMBEDDINGS @ EMBEDDINGS.T)[LABELS[:, None] < LABELS[None, :]].sort().values
    mined = (EMBEDDINGS[pairs.first] * EMBEDDINGS[pairs.second]).sum(1)[~same]
    torch.testing.assert_close(mined.sort().values[-6:], cosine[-6:])


def test_without_pairs_the_loss_is_zero() -> None:
    alone = torch.arange(12)
    pairs = mined_pairs(EMBEDDINGS, alone, generator=torch.Generator())
    assert pair_loss(PairHead(8), EMBEDDINGS, pairs).item() == 0.0


def test_the_real_head_weighs_both_classes_alike() -> None:
    head = RealHead(8)
    _trained(head)
    generated = torch.tensor([True] * 9 + [False] * 3)
    logits = head(EMBEDDINGS)
    expected = (F.softplus(-logits[:9]).mean() + F.softplus(logits[9:]).mean()) / 2
    torch.testing.assert_close(real_loss(head, EMBEDDINGS, generated), expected)


def test_heads_learn_what_can_be_learned() -> None:
    torch.manual_seed(0)
    generated = torch.arange(200) % 2 == 0
    rows = F.normalize(
        torch.randn(200, 8) * torch.where(generated, 3.0, 1.0)[:, None] ** torch.linspace(-1, 1, 8),
        dim=1,
    )
    head = RealHead(8)
    optimiser = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(100):
        optimiser.zero_grad()
        loss = real_loss(head, rows, generated)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.5  # chance is 0.69; signs alone say nothing, magnitudes do
