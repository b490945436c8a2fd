"""A bank of reconstructions: many simulated generators, a few photographs through each.

Layout of the folder::

    bank.json                options, weight sets, names of the photographs
    models-00000/            one shard; photographs as they are lie in photographs-00000/ ...
        shard.json           ids of its generators
        images.npy           uint8 (N, size, size, 3)
        samples.npz          per image: model, photograph, crop, shared, psnr_db
        features-NAME.npz    per image: clean, degraded, degradations (see `features`)

`model` counts generators over the whole bank; it is -1 for photographs. A crop is known by its
photograph and its number. Each shard appears whole or not at all, so that an interrupted run goes
on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lineup.errors import UsageError
from lineup.files import sha256_from_file, staged_directory, write_atomic
from lineup.imaging.decode import bytes_from_path, image_from_bytes
from lineup.types import AnyArray, RgbTiles
from lineup_models.photographs import HOLD_OUT_RULE, random_crop, split_photographs
from lineup_models.simulator.architecture import SPACES
from lineup_models.simulator.features import (
    FeatureFunction,
    features_of_images,
    write_arrays,
)
from lineup_models.simulator.identity import SimulatedModel, identity_from_seed, psnr_db
from lineup_models.simulator.network import Simulator, read_simulator
from lineup_models.training import Watch, plainly

BANK_NAME = "bank.json"
FORMAT = 1
CALIBRATION_IMAGES = 4
CALIBRATION_PX = 128
PHOTOGRAPH = -1
"""Model number of images that went through no generator."""

Shard = tuple[str, int]
"""Kind, "models" or "photographs", and number."""


@dataclass(frozen=True, slots=True)
class BankOptions:
    """What goes into a bank.

    Attributes:
        seed: Of generators, photographs, crops and degradations.
        models: Simulated generators.
        own_images: Crops that only one generator gets.
        shared_images: Crops that all generators get.
        size_px: Side of the crops, a multiple of 8.
        models_per_shard: Generators of one shard.
        strength: Noise on each generator's weights, in units of their spread.
        textured: Whether generators may add noise to their features.
        space: Name of the search space the architectures are drawn from.
        hold_out: Photographs that are never used, for evaluation.
        photographs: Photographs kept as such, evenly spread over the names; None for all.
        photograph_crops: Crops of each that are kept.
        degraded_versions: Degraded versions of each image among the features.
    """

    seed: int = 0
    models: int = 1500
    own_images: int = 8
    shared_images: int = 4
    size_px: int = 256
    models_per_shard: int = 10
    strength: float = 0.1
    textured: bool = True
    space: str = "extended"
    hold_out: int = 150
    photographs: int | None = None
    photograph_crops: int = 2
    degraded_versions: int = 1


@dataclass(frozen=True, slots=True)
class Samples:
    """Images of a shard and where they come from; all arrays have one entry per image.

    Attributes:
        images: uint8 (N, size, size, 3).
        table: model, photograph, crop (int32), shared (bool), psnr_db (float32).
    """

    images: RgbTiles
    table: dict[str, AnyArray]


def fill_bank(
    photos: Path,
    weights: Mapping[str, Path],
    output: Path,
    options: BankOptions,
    features: Mapping[str, FeatureFunction],
    *,
    watch: Watch = plainly,
) -> None:
    """Fill a bank, shard by shard; go on with an interrupted one.

    Args:
        photos: Searched recursively for photographs.
        weights: Trained simulators by name; generators take them in turn.
        output: Folder of the bank.
        options: What goes in.
        features: By name, what to compute of every image.
        watch: Wraps the shards.

    Raises:
        UsageError: The folder holds a bank of other options, photographs or weights.
    """
    bank = BankFiller(photos, weights, options, features)
    _claim(output, bank.header())
    shards = [shard for shard in bank.shards() if not (output / folder_name(shard)).exists()]
    for shard in watch("bank", shards):
        bank.write_shard(shard, output)


def folder_name(shard: Shard) -> str:
    """Return the name of a shard's folder."""
    return f"{shard[0]}-{shard[1]:05d}"


def _claim(output: Path, header: Mapping[str, Any]) -> None:
    path = output / BANK_NAME
    if path.exists() and json.loads(path.read_text()) != header:
        raise UsageError(
            f"{output} holds a bank of other options, photographs or weights.",
            hint="Give the same ones to go on with it, or another output folder.",
        )
    write_atomic(path, json.dumps(header, indent=1).encode())


class BankFiller:
    """Makes the shards of a bank; each depends on the options and its number alone."""

    def __init__(
        self,
        photos: Path,
        weights: Mapping[str, Path],
        options: BankOptions,
        features: Mapping[str, FeatureFunction],
    ) -> None:
        self.options = options
        self.features = features
        self.weights = dict(weights)
        self.paths = split_photographs(photos, options.hold_out).fit
        self.simulators: dict[str, Simulator] = {
            name: read_simulator(path).simulator for name, path in weights.items()
        }
        count = len(self.paths) if options.photographs is None else options.photographs
        kept = np.linspace(0, len(self.paths), min(count, len(self.paths)), endpoint=False)
        self.kept = kept.astype(int).tolist()
        random = np.random.default_rng([options.seed, 0])
        self.shared = random.choice(len(self.paths), options.shared_images, replace=False)
        drawn = random.integers(len(self.paths), size=CALIBRATION_IMAGES)
        self.calibration = np.stack(
            [self.crop(int(photograph), 0, CALIBRATION_PX) for photograph in drawn]
        )

    def header(self) -> dict[str, Any]:
        """Return what `bank.json` holds."""
        return {
            "format": FORMAT,
            "options": asdict(self.options),
            "hold_out_rule": HOLD_OUT_RULE,
            "weights": {name: sha256_from_file(path) for name, path in self.weights.items()},
            "photographs": [path.name for path in self.paths],
        }

    def shards(self) -> list[Shard]:
        """Return all shards of the bank, those of photographs first."""
        options = self.options
        per_shard = options.models_per_shard * (options.own_images + options.shared_images)
        crops = len(self.kept) * options.photograph_crops
        return [("photographs", number) for number in range(-(-crops // per_shard))] + [
            ("models", number) for number in range(-(-options.models // options.models_per_shard))
        ]

    def crop(self, photograph: int, number: int, size_px: int) -> RgbTiles:
        """Return crop `number` of a photograph, (size, size, 3)."""
        pixels = image_from_bytes(bytes_from_path(self.paths[photograph])).pixels
        random = np.random.default_rng([self.options.seed, 1, photograph, number])
        return random_crop(pixels, size_px, random)

    def write_shard(self, shard: Shard, output: Path) -> None:
        """Make one shard and write its folder."""
        kind, number = shard
        samples, ids = (
            self._photograph_shard(number) if kind == "photographs" else self._model_shard(number)
        )
        # Degradations of photographs and models must not coincide.
        stream = 2 * number + (kind == "models")
        options = self.options
        with staged_directory(output / folder_name(shard)) as folder:
            write_atomic(folder / "shard.json", json.dumps({"models": ids}, indent=1).encode())
            write_arrays(folder / "samples.npz", samples.table)
            np.save(folder / "images.npy", samples.images)
            for name, function in self.features.items():
                arrays = features_of_images(
                    samples.images, options.seed, stream, options.degraded_versions, function
                )
                write_arrays(folder / f"features-{name}.npz", arrays)

    def _photograph_shard(self, number: int) -> tuple[Samples, list[str]]:
        options = self.options
        per_shard = options.models_per_shard * (options.own_images + options.shared_images)
        crops = len(self.kept) * options.photograph_crops
        positions = range(number * per_shard, min((number + 1) * per_shard, crops))
        which = [
            (self.kept[position % len(self.kept)], position // len(self.kept))
            for position in positions
        ]
        images = np.stack([self.crop(photograph, k, options.size_px) for photograph, k in which])
        table = _table(PHOTOGRAPH, which, shared=0, psnr=np.full(len(which), np.nan, np.float32))
        return Samples(images, table), []

    def _model_shard(self, number: int) -> tuple[Samples, list[str]]:
        size = self.options.models_per_shard
        indices = range(number * size, min((number + 1) * size, self.options.models))
        made = [self.model(index) for index in indices]
        tables = [samples.table for samples, _ in made]
        joined = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
        images = np.concatenate([samples.images for samples, _ in made])
        return Samples(images, joined), [identity for _, identity in made]

    def model(self, index: int) -> tuple[Samples, str]:
        """Return the reconstructions by generator `index`, shared crops first, and its id."""
        options = self.options
        identity = identity_from_seed(
            options.seed, index, list(self.simulators), SPACES[options.space]
        )
        model = SimulatedModel(
            self.simulators,
            identity,
            strength=options.strength,
            textured=options.textured,
            calibration=self.calibration,
        )
        which, originals = self.originals(index)
        images = model.reconstructions(originals)
        table = _table(index, which, shared=options.shared_images, psnr=psnr_db(images, originals))
        return Samples(images, table), identity.id

    def originals(self, index: int) -> tuple[list[tuple[int, int]], RgbTiles]:
        """Return photograph and number of the crops that generator `index` gets, and the crops."""
        options = self.options
        random = np.random.default_rng([options.seed, 2, index])
        own = random.choice(len(self.paths), options.own_images, replace=False)
        which = [(int(photograph), 0) for photograph in self.shared]
        # The first numbers are of the crops that are kept as photographs.
        which += [(int(photograph), options.photograph_crops + index) for photograph in own]
        return which, np.stack([self.crop(*crop, options.size_px) for crop in which])


def _table(
    model: int, which: Sequence[tuple[int, int]], *, shared: int, psnr: AnyArray
) -> dict[str, AnyArray]:
    photograph, crop = np.asarray(which, np.int32).T
    return {
        "model": np.full(len(which), model, np.int32),
        "photograph": photograph,
        "crop": crop,
        "shared": np.arange(len(which)) < shared,
        "psnr_db": psnr,
    }
