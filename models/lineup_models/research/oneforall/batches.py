"""Where the batches of the extractor come from: a bank of reconstructions, or made on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lineup.errors import UsageError
from lineup.types import Float32Array, RgbImage, RgbTiles
from lineup_models.photographs import crop_from_path
from lineup_models.simulator.bank import CALIBRATION_IMAGES, CALIBRATION_PX
from lineup_models.simulator.bank_reader import Bank
from lineup_models.simulator.features import FeatureFunction, degradation_from_seed, degraded_image
from lineup_models.simulator.identity import ModelIdentity, SimulatedModel, identity_from_seed
from lineup_models.simulator.network import FeatureNoise, Simulator


@dataclass(frozen=True, slots=True)
class BatchShape:
    """Numbers of a batch.

    Attributes:
        models: Generators of a batch.
        images_per_model: Images of each, at least 2, so that every one has a positive.
        photographs: Photographs that go through no generator.
        single_share: Share of the batches that are sampled as a single set, 0..1: all generators
            get the same photographs, and nothing but the generator tells them apart.
    """

    models: int = 24
    images_per_model: int = 4
    photographs: int = 16
    single_share: float = 0.25


@dataclass(frozen=True, slots=True)
class Draw:
    """A batch: which photographs go through which generators.

    Attributes:
        single: Whether all generators get the same photographs.
        models: Generators, by number.
        images: Photographs of each generator, by number.
        photographs: Photographs that stay as they are, by number.
    """

    single: bool
    models: tuple[int, ...]
    images: tuple[tuple[int, ...], ...]
    photographs: tuple[int, ...]


def draw_from_seed(
    seed: int | Sequence[int], shape: BatchShape, *, models: int, photographs: int
) -> Draw:
    """Draw a batch from so many generators and photographs.

    Raises:
        UsageError: There are fewer generators or photographs than a batch needs.
    """
    random = np.random.default_rng(seed)
    single = bool(random.random() < shape.single_share)
    through = shape.images_per_model * (1 if single else shape.models)
    check_enough("generators", shape.models, models)
    check_enough("photographs", through + shape.photographs, photographs)
    chosen = random.choice(models, shape.models, replace=False)
    # None twice: an image must not be known by its content.
    drawn = random.choice(photographs, through + shape.photographs, replace=False)
    sets = drawn[:through].reshape(-1, shape.images_per_model).tolist()
    images = tuple(tuple(row) for row in (sets * shape.models if single else sets))
    return Draw(single, tuple(chosen.tolist()), images, tuple(drawn[through:].tolist()))


def check_enough(what: str, needed: int, available: int) -> None:
    """Raise UsageError when there is less of something than a batch needs."""
    if needed > available:
        raise UsageError(
            f"A batch needs {needed} {what}, but there are {available}.",
            hint="Choose smaller batches, or give more photographs or generators.",
        )


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


def _labelled(rows: Float32Array, draw: Draw, models: int) -> Batch:
    """Return the batch of rows that come generator by generator, then photograph by photograph."""
    through = [model for model, one in zip(draw.models, draw.images, strict=True) for _ in one]
    labels = torch.tensor([*through, *(models + n for n in range(len(draw.photographs)))])
    return Batch(torch.from_numpy(rows), labels, torch.arange(len(labels)) < len(through))


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
        sets = self.common if draw.single else self.own
        chosen = [sets[model] for model in draw.models]
        fewest = min(len(positions) for positions in chosen)
        if fewest < shape.images_per_model:
            raise UsageError(
                f"A generator of the bank has {fewest} images for "
                f"{'single' if draw.single else 'multiple'}-set sampling; "
                f"a batch needs {shape.images_per_model}.",
                hint="Lower images_per_model, or fill a bank with more images.",
            )
        # In a single set every generator gives the same photographs: one choice of columns.
        columns = random.permutation(fewest)[: shape.images_per_model]
        through = np.concatenate([positions[columns] for positions in chosen])
        real = random.choice(self.photographs, shape.photographs, replace=False)
        rows = self._rows(np.concatenate([through, real]), random)
        return _labelled(rows, draw, len(self.own))

    def _rows(self, positions: npt.NDArray[np.intp], random: np.random.Generator) -> Float32Array:
        rows = self.bank.clean[positions].astype(np.float32)
        degraded = np.flatnonzero(random.random(len(positions)) < self.degraded_share)
        if len(degraded):
            version = random.integers(self.bank.degraded.shape[1], size=len(degraded))
            rows[degraded] = self.bank.degraded[positions[degraded], version]
        return np.asarray(rows, np.float32)


@dataclass(frozen=True, slots=True)
class OnlineOptions:
    """What batches are made of.

    Attributes:
        models: Generators to draw from.
        size_px: Side of the crops, a multiple of 8.
        strength: Noise on each generator's weights, in units of their spread.
        degraded_share: Probability that an image is degraded.
    """

    models: int = 100_000
    size_px: int = 256
    strength: float = 0.1
    degraded_share: float = 0.4


class OnlineSource:
    """Runs photographs through simulated generators, drawn by `seed`, as they are asked for."""

    def __init__(
        self,
        simulators: Mapping[str, Simulator],
        paths: Sequence[Path],
        features: FeatureFunction,
        options: OnlineOptions,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        self.simulators, self.paths, self.features = simulators, paths, features
        self.options, self.seed, self.device = options, seed, device
        drawn = np.random.default_rng([seed, 0]).integers(len(paths), size=CALIBRATION_IMAGES)
        self.calibration = np.stack(
            [self._crop(int(index), [seed, 1], CALIBRATION_PX) for index in drawn]
        )

    def batch(self, seed: Sequence[int], shape: BatchShape) -> Batch:
        """Return the batch of `seed`."""
        options = self.options
        draw = draw_from_seed(seed, shape, models=options.models, photographs=len(self.paths))
        images: list[RgbImage] = []
        for model, numbers in zip(draw.models, draw.images, strict=True):
            crops = np.stack([self._crop(number, seed, options.size_px) for number in numbers])
            images.extend(self.reconstructions(model, crops, seed))
        images += [self._crop(number, seed, options.size_px) for number in draw.photographs]
        return _labelled(self.features(self._degraded(images, seed)), draw, options.models)

    def identity(self, model: int) -> ModelIdentity:
        """Return which generator `model` is: weights, noise on them, architecture."""
        space = next(iter(self.simulators.values())).space
        return identity_from_seed(self.seed, model, list(self.simulators), space)

    def reconstructions(self, model: int, crops: RgbTiles, seed: Sequence[int]) -> RgbTiles:
        """Return what generator `model` makes of `crops`, the same shape, rounded to uint8."""
        generator = SimulatedModel(
            self.simulators,
            self.identity(model),
            strength=self.options.strength,
            calibration=self.calibration,
            device=self.device,
        )
        drawn = int(np.random.default_rng([*seed, 4, model]).integers(1 << 62))
        return generator.decoded(
            crops, FeatureNoise(generator.noise, drawn) if generator.noise else None
        )

    def _crop(self, photograph: int, seed: Sequence[int], size_px: int) -> RgbImage:
        random = np.random.default_rng([*seed, 5, photograph])
        return crop_from_path(self.paths[photograph], size_px, random)

    def _degraded(self, images: Sequence[RgbImage], seed: Sequence[int]) -> list[RgbImage]:
        chosen = np.random.default_rng([*seed, 6]).random(len(images))
        return [
            degraded_image(image, degradation_from_seed([*seed, 7, position]))
            if chosen[position] < self.options.degraded_share
            else image
            for position, image in enumerate(images)
        ]


Source = BankSource | OnlineSource
"""Gives the batch of a seed, always the same one."""
