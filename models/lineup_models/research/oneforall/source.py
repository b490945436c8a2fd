"""Where the batches of the extractor come from: a bank of reconstructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lineup.errors import UsageError
from lineup_models.research.oneforall.sampling import (
    BatchShape,
    SetSampling,
    check_enough,
    draw_from_seed,
)
from lineup_models.simulator.bank_reader import Bank


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of a step.

    Attributes:
        rows: float32 (N, dimension), log-spectra.
        labels: int64 (N,), the generator; every photograph has a label of its own.
        generated: bool (N,), False for photographs.
    """

    rows: Tensor
    labels: Tensor
    generated: Tensor


class Source(Protocol):
    """Gives the batch of a seed, always the same one."""

    def batch(self, seed: Sequence[int], shape: BatchShape) -> Batch:
        """Return the batch."""


class BankSource:
    """Batches from a bank: fast, since every reconstruction and its spectrum exist already.

    A single set takes the crops that all generators of the bank have, a multiple set the others.

    Args:
        bank: Features of the images.
        degraded_share: Probability that an image comes as its degraded version.
        models: Which of the bank's generators to use, by number; None for all.
    """

    def __init__(
        self, bank: Bank, *, degraded_share: float, models: Sequence[int] | None = None
    ) -> None:
        self.bank = bank
        self.degraded_share = degraded_share if bank.degraded.shape[1] else 0.0
        numbers = sorted(bank.model_ids) if models is None else list(models)
        self.own = [np.flatnonzero((bank.model == number) & ~bank.shared) for number in numbers]
        self.common = [np.flatnonzero((bank.model == number) & bank.shared) for number in numbers]
        self.photographs = np.flatnonzero(bank.is_photograph)

    def batch(self, seed: Sequence[int], shape: BatchShape) -> Batch:
        """Return the batch of `seed`.

        Raises:
            UsageError: The bank has fewer generators or images than a batch needs.
        """
        check_enough("photographs", shape.photographs, len(self.photographs))
        # Which photographs go through a generator was settled when the bank was filled.
        enough = shape.models * shape.images_per_model + shape.photographs
        draw = draw_from_seed(seed, shape, models=len(self.own), photographs=enough)
        random = np.random.default_rng([*seed, 1])
        sets = self.common if draw.sampling is SetSampling.SINGLE else self.own
        chosen = [sets[model] for model in draw.models]
        fewest = min(len(positions) for positions in chosen)
        if fewest < shape.images_per_model:
            raise UsageError(
                f"A generator of the bank has {fewest} images for {draw.sampling.value}-set "
                f"sampling; a batch needs {shape.images_per_model}.",
                hint="Lower images_per_model, or fill a bank with more images.",
            )
        # In a single set every generator gives the same photographs: one choice of columns.
        columns = random.permutation(fewest)[: shape.images_per_model]
        through = np.concatenate([positions[columns] for positions in chosen])
        real = random.choice(self.photographs, shape.photographs, replace=False)
        positions = np.concatenate([through, real])
        labels = np.concatenate(
            [
                np.repeat(draw.models, shape.images_per_model),
                len(self.own) + np.arange(shape.photographs),
            ]
        )
        return Batch(
            rows=torch.from_numpy(self._rows(positions, random)),
            labels=torch.from_numpy(labels.astype(np.int64)),
            generated=torch.arange(len(labels)) < len(through),
        )

    def _rows(
        self, positions: npt.NDArray[np.intp], random: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        rows = self.bank.clean[positions].astype(np.float32)
        degraded = np.flatnonzero(random.random(len(positions)) < self.degraded_share)
        if len(degraded):
            version = random.integers(self.bank.degraded.shape[1], size=len(degraded))
            rows[degraded] = self.bank.degraded[positions[degraded], version]
        return np.asarray(rows, np.float32)
