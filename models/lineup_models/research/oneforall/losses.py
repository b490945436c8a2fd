"""Losses: contrastive for the extractor, pairs and photographs for its heads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

EMPTY = -1
"""Label of a memory slot that was not filled yet."""


class NegativeMemory(nn.Module):
    """The latest embeddings, detached, as further negatives (1,024 in the publication).

    A ring of fixed size whose contents are buffers, so that a checkpoint has them.
    """

    embeddings: Tensor
    labels: Tensor
    position: Tensor

    def __init__(self, size: int, dimension: int) -> None:
        super().__init__()
        self.register_buffer("embeddings", torch.zeros(size, dimension))
        self.register_buffer("labels", torch.full((size,), EMPTY, dtype=torch.int64))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    def push(self, embeddings: Tensor, labels: Tensor) -> None:
        """Take in embeddings (N, dimension) with labels (N,) >= 0; the oldest make room."""
        size = len(self.labels)
        embeddings, labels = embeddings.detach()[-size:], labels[-size:]
        slots = (self.position + torch.arange(len(labels), device=labels.device)) % size
        self.embeddings[slots] = embeddings.to(self.embeddings.dtype)
        self.labels[slots] = labels
        self.position.copy_((self.position + len(labels)) % size)


def contrastive_loss(
    embeddings: Tensor, labels: Tensor, *, tau: float, memory: NegativeMemory | None = None
) -> Tensor:
    """Return the supervised contrastive loss L_out (Khosla et al. 2020) with more negatives.

    -(1/N) sum_i 1/|P_i| sum_{p in P_i} log [exp(z_i z_p / tau) / (sum_{j != i} exp(z_i z_j / tau)
    + sum_{m in M} exp(z_i z_m / tau))]. The publication prints the exponential over tau, which
    cancels. Anchors without a positive are skipped, and do not count in N; entries of the memory
    that have the anchor's label are no negatives of it. The gradient is not rescaled by tau.

    Args:
        embeddings: (N, dimension), rows of length 1.
        labels: int64 (N,), >= 0.
        tau: Temperature, > 0.
        memory: More negatives; None for none.

    Returns:
        A scalar; 0 when no anchor has a positive.
    """
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    positives = (labels[:, None] == labels[None, :]) & ~itself
    logits = (embeddings @ embeddings.T / tau).masked_fill(itself, -torch.inf)
    everything = logits
    if memory is not None:
        stale = (memory.labels[None, :] == labels[:, None]) | (memory.labels[None, :] == EMPTY)
        more = embeddings @ memory.embeddings.T / tau
        everything = torch.cat([logits, more.masked_fill(stale, -torch.inf)], dim=1)
    counts = positives.sum(dim=1)
    anchors = counts > 0
    if not bool(anchors.any()):
        return embeddings.sum() * 0.0
    # logsumexp subtracts the largest logit of each row: with tau = 0.02 they reach 50.
    log_share = logits[anchors] - torch.logsumexp(everything[anchors], dim=1, keepdim=True)
    summed = log_share.masked_fill(~positives[anchors], 0.0).sum(dim=1)
    return -(summed / counts[anchors]).mean()


COSINE_SCALE = 10.0
"""Slope of the untrained pair head's logit over the cosine; trained like the rest."""

COSINE_MIDDLE = 0.5
"""Cosine at which it is undecided; trained too."""


class PairHead(nn.Module):
    """Logit that two fingerprints come from one generator; symmetric in the two.

    A scaled cosine plus a network of (|u_i - u_j|, u_i u_j), u = P z, where the publication
    concatenates [z_i; z_j], whose order matters. The network starts at zero: the untrained head
    ranks as the cosine does.
    """

    def __init__(self, dimension: int, width: int = 64) -> None:
        super().__init__()
        self.project = nn.Linear(dimension, width, bias=False)
        self.hidden = nn.Linear(2 * width, width)
        self.out = nn.Linear(width, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.constant_(self.out.bias, -COSINE_SCALE * COSINE_MIDDLE)
        self.scale = nn.Parameter(torch.tensor(COSINE_SCALE))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return logits (N,) of pairs float32 (N, dimension), rows of length 1."""
        # Projections of unit vectors are small; times sqrt(dimension) they are of order 1.
        unit = first.shape[1] ** 0.5
        left, right = self.project(first) * unit, self.project(second) * unit
        pair = torch.cat([(left - right).abs(), left * right], dim=1)
        learned: Tensor = self.out(F.gelu(self.hidden(pair)))[:, 0]
        return learned + self.scale * (first * second).sum(dim=1)


class RealHead(nn.Module):
    """Logit that a fingerprint is of a generated image; peaks raise its magnitudes, read too."""

    def __init__(self, dimension: int, width: int = 32) -> None:
        super().__init__()
        self.hidden = nn.Linear(2 * dimension, width)
        self.out = nn.Linear(width, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, fingerprints: Tensor) -> Tensor:
        """Return logits (N,) of float32 (N, dimension), rows of length 1."""
        scaled = fingerprints * fingerprints.shape[1] ** 0.5
        magnitudes = scaled.abs() - (2.0 / torch.pi) ** 0.5  # of a standard normal: no offset
        logits: Tensor = self.out(F.gelu(self.hidden(torch.cat([scaled, magnitudes], dim=1))))
        return logits[:, 0]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of a batch.

    Attributes:
        first: int64 (P,), positions in the batch.
        second: int64 (P,).
        same: float32 (P,), 1 for pairs of one generator; as many as of different ones.
    """

    first: Tensor
    second: Tensor
    same: Tensor


def mined_pairs(
    embeddings: Tensor, labels: Tensor, *, generator: torch.Generator, hard_share: float = 0.5
) -> Pairs:
    """Choose all pairs of one generator and as many others, part of them the most alike.

    Args:
        embeddings: (N, dimension), rows of length 1.
        labels: int64 (N,).
        generator: Draws the other negatives, on the CPU.
        hard_share: Share of the negatives that have the highest cosine, 0..1.
    """
    rows, columns = torch.triu_indices(len(labels), len(labels), 1, device=labels.device)
    same = labels[rows] == labels[columns]
    positive, negative = same.nonzero()[:, 0], (~same).nonzero()[:, 0]
    wanted = min(len(positive), len(negative))
    positive = positive[torch.randperm(len(positive), generator=generator).to(same.device)[:wanted]]
    with torch.no_grad():
        cosine = (embeddings @ embeddings.T)[rows[negative], columns[negative]]
    order = cosine.argsort(descending=True, stable=True)
    hard = round(wanted * hard_share)
    others = torch.randperm(len(negative) - hard, generator=generator).to(same.device)
    kept = torch.cat([order[:hard], order[hard:][others[: wanted - hard]]])
    chosen = torch.cat([positive, negative[kept]])
    return Pairs(rows[chosen], columns[chosen], same[chosen].to(torch.float32))


def pair_loss(head: PairHead, embeddings: Tensor, pairs: Pairs) -> Tensor:
    """Return the mean binary cross-entropy over balanced pairs; 0 where there are none."""
    if len(pairs.same) == 0:
        return embeddings.sum() * 0.0
    logits = head(embeddings[pairs.first], embeddings[pairs.second])
    return F.binary_cross_entropy_with_logits(logits, pairs.same)


def real_loss(head: RealHead, embeddings: Tensor, generated: Tensor) -> Tensor:
    """Return the binary cross-entropy, both classes with the same weight whatever their numbers.

    Embeddings are (N, dimension), `generated` is bool (N,).
    """
    losses = F.binary_cross_entropy_with_logits(
        head(embeddings), generated.to(embeddings.dtype), reduction="none"
    )
    parts = [losses[which].mean() for which in (generated, ~generated) if bool(which.any())]
    return torch.stack(parts).mean()
