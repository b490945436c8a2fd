"""Supervised contrastive loss with a memory of negatives."""

from __future__ import annotations

import torch
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
