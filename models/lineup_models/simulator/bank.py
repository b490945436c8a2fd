"""A bank of reconstructions: many simulated generators, a few photographs through each.

Layout of the folder::

    bank.json                options, weight sets, names of the photographs
    models-00000/            one shard; photographs as they are lie in photographs-00000/ ...
        shard.json           ids of its generators
        images.npy           uint8 (N, size, size, 3)
        samples.npz          per image: model, photograph, crop, shared, psnr_db
        features-NAME.npz    per image: clean, degraded, degradations (see `add_features`)

`model` counts generators over the whole bank; it is -1 for photographs. A crop is known by its
photograph and its number. Each shard appears whole or not at all, so that an interrupted run goes
on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lineup.errors import UsageError
from lineup.files import sha256_from_file, staged_directory, write_atomic
from lineup.types import AnyArray, RgbImage, RgbTiles
from lineup_models.photographs import HOLD_OUT_RULE, crop_from_path, split_photographs
from lineup_models.simulator.architecture import SPACES
from lineup_models.simulator.features import write_arrays
from lineup_models.simulator.identity import SimulatedModel, identity_from_seed, psnr_db
from lineup_models.simulator.network import read_simulator
from lineup_models.training import Watch, plainly

BANK_NAME = "bank.json"
FORMAT = 1
CALIBRATION_IMAGES = 4
CALIBRATION_PX = 128
PHOTOGRAPH = -1
"""Model number of images that went through no generator."""

Shard = tuple[dict[str, AnyArray], list[str]]
"""By name, arrays with an entry per image (see above), "images" among them; ids of generators."""


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
    hold_out: int = 120
    photographs: int | None = None
    photograph_crops: int = 2
    degraded_versions: int = 1


def fill_bank(
    photos: Path,
    weights: Mapping[str, Path],
    output: Path,
    options: BankOptions,
    *,
    watch: Watch = plainly,
) -> None:
    """Fill a bank with images, shard by shard; go on with an interrupted one.

    Args:
        photos: Searched recursively for photographs.
        weights: Trained simulators by name; generators take them in turn.
        output: Folder of the bank.
        options: What goes in.
        watch: Wraps the names of the shards.

    Raises:
        UsageError: The folder holds a bank of other options, photographs or weights.
    """
    bank = BankFiller(photos, weights, options)
    header = bank.header()
    path = output / BANK_NAME
    if path.exists() and json.loads(path.read_text()) != header:
        raise UsageError(
            f"{output} holds a bank of other options, photographs or weights.",
            hint="Give the same ones to go on with it, or another output folder.",
        )
    write_atomic(path, json.dumps(header, indent=1).encode())
    shards = bank.shards()
    for name in watch("bank", [name for name in shards if not (output / name).exists()]):
        arrays, ids = shards[name]()
        with staged_directory(output / name) as folder:
            write_atomic(folder / "shard.json", json.dumps({"models": ids}, indent=1).encode())
            np.save(folder / "images.npy", arrays.pop("images"))
            write_arrays(folder / "samples.npz", arrays)


class BankFiller:
    """Makes the shards of a bank; each depends on the options and its number alone."""

    def __init__(self, photos: Path, weights: Mapping[str, Path], options: BankOptions) -> None:
        self.options = options
        self.weights = weights
        self.paths = split_photographs([photos], options.hold_out).fit
        self.simulators = {name: read_simulator(path).simulator for name, path in weights.items()}
        count = len(self.paths) if options.photographs is None else options.photographs
        kept = np.linspace(0, len(self.paths), min(count, len(self.paths)), endpoint=False)
        self.kept = kept.astype(int).tolist()
        random = np.random.default_rng([options.seed, 0])
        self.shared = random.choice(len(self.paths), options.shared_images, replace=False)
        drawn = random.integers(len(self.paths), size=CALIBRATION_IMAGES)
        self.calibration = np.stack(
            [self._crop(int(photograph), 0, CALIBRATION_PX) for photograph in drawn]
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

    def shards(self) -> dict[str, Callable[[], Shard]]:
        """Return what makes each shard, by the name of its folder, photographs first."""
        options, size = self.options, self.options.models_per_shard
        per_shard = size * (options.own_images + options.shared_images)
        crops = [(one, number) for number in range(options.photograph_crops) for one in self.kept]
        models = range(options.models)
        photographs = [crops[i : i + per_shard] for i in range(0, len(crops), per_shard)]
        generators = [models[i : i + size] for i in range(0, len(models), size)]
        shards: dict[str, Callable[[], Shard]] = {}
        for number, which in enumerate(photographs):
            shards[f"photographs-{number:05d}"] = partial(self._photograph_shard, which)
        for number, indices in enumerate(generators):
            shards[f"models-{number:05d}"] = partial(self._model_shard, indices)
        return shards

    def _photograph_shard(self, which: Sequence[tuple[int, int]]) -> Shard:
        unknown = np.full(len(which), np.nan, np.float32)
        return _samples(PHOTOGRAPH, which, self._crops(which), shared=0, psnr=unknown), []

    def _model_shard(self, indices: Sequence[int]) -> Shard:
        tables, ids = zip(*(self.model(index) for index in indices), strict=True)
        joined = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
        return joined, list(ids)

    def model(self, index: int) -> tuple[dict[str, AnyArray], str]:
        """Return the samples of generator `index`, shared crops first, and its id."""
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
        psnr = psnr_db(images, originals)
        return _samples(index, which, images, shared=options.shared_images, psnr=psnr), identity.id

    def originals(self, index: int) -> tuple[list[tuple[int, int]], RgbTiles]:
        """Return photograph and number of the crops that generator `index` gets, and the crops."""
        options = self.options
        random = np.random.default_rng([options.seed, 2, index])
        own = random.choice(len(self.paths), options.own_images, replace=False)
        which = [(int(photograph), 0) for photograph in self.shared]
        # The first numbers are of the crops that are kept as photographs.
        which += [(int(photograph), options.photograph_crops + index) for photograph in own]
        return which, self._crops(which)

    def _crops(self, which: Sequence[tuple[int, int]]) -> RgbTiles:
        return np.stack([self._crop(*crop, self.options.size_px) for crop in which])

    def _crop(self, photograph: int, number: int, size_px: int) -> RgbImage:
        random = np.random.default_rng([self.options.seed, 1, photograph, number])
        return crop_from_path(self.paths[photograph], size_px, random)


def _samples(
    model: int, which: Sequence[tuple[int, int]], images: RgbTiles, *, shared: int, psnr: AnyArray
) -> dict[str, AnyArray]:
    photograph, crop = np.asarray(which, np.int32).T
    return {
        "images": images,
        "model": np.full(len(which), model, np.int32),
        "photograph": photograph,
        "crop": crop,
        "shared": np.arange(len(which)) < shared,
        "psnr_db": psnr,
    }
