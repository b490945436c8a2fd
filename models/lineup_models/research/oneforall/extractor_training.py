"""Training the extractor, and the two heads with it or after it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from lineup_models.research.oneforall.batches import BatchShape, Source
from lineup_models.research.oneforall.extractor import Extractor, WhitenedExtractor
from lineup_models.research.oneforall.losses import (
    NegativeMemory,
    PairHead,
    RealHead,
    contrastive_loss,
    mined_pairs,
    pair_loss,
    real_loss,
)
from lineup_models.training import LoopOptions, Task, seeded

HARD_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class ExtractorOptions:
    """How the extractor is trained.

    Attributes:
        loop: Steps and learning rate.
        batch: Numbers of a batch.
        tau: Temperature of the contrastive loss.
        memory: Negatives kept from earlier steps.
        joint_heads: Train the heads with the extractor, their losses with weight 1 each, as
            published; otherwise afterwards, on embeddings that stay.
        drift_weight: Of the mean squared length of the correction over that of the closed-form
            fingerprint (whitened extractor only): what is learned on simulated generators must
            not take over on others. With 0.5 and a learning rate of 5e-4 the correction outgrows
            the fingerprint within 60 steps, helps on unseen simulated generators and ruins it on
            real ones.
    """

    loop: LoopOptions = field(default_factory=lambda: LoopOptions(60, 1e-4, 10))
    batch: BatchShape = field(default_factory=BatchShape)
    tau: float = 0.1
    memory: int = 1024
    joint_heads: bool = False
    drift_weight: float = 20.0


@dataclass(frozen=True, slots=True)
class HeadsOptions:
    """How the heads are trained on an extractor that stays."""

    loop: LoopOptions = field(default_factory=lambda: LoopOptions(400, 1e-3))
    batch: BatchShape = field(default_factory=lambda: BatchShape(photographs=48))


class Fingerprinter(nn.Module):
    """Extractor and heads, one set of weights; those of the heads are drawn from `seed`."""

    def __init__(self, extractor: Extractor, *, seed: int) -> None:
        super().__init__()
        self.extractor = extractor
        with seeded(seed):
            self.pair_head = PairHead(extractor.dimension)
            self.real_head = RealHead(extractor.dimension)


class _BatchTask(Task):
    """Trains on batches of a source."""

    def __init__(
        self,
        name: str,
        modules: nn.Module,
        model: Fingerprinter,
        source: Source,
        options: ExtractorOptions | HeadsOptions,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        sizes, spectrum = asdict(model.extractor.spec), asdict(model.extractor.spectrum)
        settings = {"sizes": sizes, "spectrum": spectrum, name: asdict(options)}
        super().__init__(name, modules, settings)
        self.model, self.source, self.seed, self.device = model, source, seed, device

    def batch(self, seed: list[int], shape: BatchShape) -> tuple[Tensor, Tensor, Tensor]:
        """Return rows, labels and which were generated, on the device."""
        batch = self.source.batch(seed, shape)
        rows, labels = batch.rows.to(self.device), batch.labels.to(self.device)
        return rows, labels, batch.generated.to(self.device)


class ExtractorTask(_BatchTask):
    """Trains the extractor."""

    def __init__(
        self,
        model: Fingerprinter,
        source: Source,
        options: ExtractorOptions,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        self.options = options
        self.memory = NegativeMemory(options.memory, model.extractor.dimension)
        modules = nn.ModuleDict({"model": model, "memory": self.memory}).to(device)
        model.train().requires_grad_(True)
        model.pair_head.requires_grad_(options.joint_heads)
        model.real_head.requires_grad_(options.joint_heads)
        super().__init__("extractor", modules, model, source, options, seed=seed, device=device)
        self._latest: tuple[Tensor, Tensor] | None = None

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Return the weighted sum of the losses of `step`."""
        options = self.options
        rows, labels, generated = self.batch([self.seed, step], options.batch)
        embeddings, drift = self._embedded(rows)
        # Photographs have no positives: they are negatives of all others, and never anchors.
        losses = {
            "contrastive": contrastive_loss(embeddings, labels, tau=options.tau, memory=self.memory)
        }
        total = losses["contrastive"]
        if drift is not None:
            losses["drift"] = drift
            total = total + options.drift_weight * drift
        if options.joint_heads:
            heads = head_losses(self.model, embeddings, labels, generated, [self.seed, step])
            losses.update(heads)
            total = total + heads["pair"] + heads["real"]
        # Labels of photographs are numbers within a batch and mean nothing in the next.
        self._latest = (embeddings[generated].detach(), labels[generated])
        return total, {name: value.item() for name, value in losses.items()}

    def after_step(self, step: int) -> None:
        """Put the embeddings of `step` into the memory."""
        del step
        assert self._latest is not None
        self.memory.push(*self._latest)

    def _embedded(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        extractor = self.model.extractor
        if not isinstance(extractor, WhitenedExtractor):
            return extractor(rows), None
        whitened, correction = extractor.parts(rows)
        share = correction.square().sum(dim=1) / whitened.square().sum(dim=1)
        return nn.functional.normalize(whitened + correction, dim=1), share.mean()


class HeadsTask(_BatchTask):
    """Trains the heads on embeddings of an extractor that stays."""

    def __init__(
        self,
        model: Fingerprinter,
        source: Source,
        options: HeadsOptions,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        self.shape = options.batch
        heads = nn.ModuleDict({"pair": model.pair_head, "real": model.real_head})
        model.to(device).eval().requires_grad_(False)
        heads.train().requires_grad_(True)
        super().__init__("heads", heads, model, source, options, seed=seed, device=device)

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Return the sum of both heads' losses of `step`."""
        seed = [self.seed, step, 2]
        rows, labels, generated = self.batch(seed, self.shape)
        with torch.no_grad():
            embeddings = self.model.extractor(rows)
        losses = head_losses(self.model, embeddings, labels, generated, seed)
        parts = {name: value.item() for name, value in losses.items()}
        return losses["pair"] + losses["real"], parts


def head_losses(
    model: Fingerprinter, embeddings: Tensor, labels: Tensor, generated: Tensor, seed: list[int]
) -> dict[str, Tensor]:
    """Return the losses of both heads, called "pair" and "real"; `seed` mines the pairs.

    Embeddings are (N, dimension), labels int64 (N,), `generated` is bool (N,).
    """
    drawn = int(np.random.default_rng([*seed, 3]).integers(1 << 62))
    generator = torch.Generator().manual_seed(drawn)
    pairs = mined_pairs(embeddings, labels, generator=generator, hard_share=HARD_SHARE)
    return {
        "pair": pair_loss(model.pair_head, embeddings, pairs),
        "real": real_loss(model.real_head, embeddings, generated),
    }
