"""Reading a bank back, and giving it features it was not filled with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lineup.errors import UsageError
from lineup.types import AnyArray, RgbImage, RgbTiles
from lineup_models.simulator.bank import BANK_NAME, PHOTOGRAPH
from lineup_models.simulator.features import (
    Degradation,
    FeatureFunction,
    degradation_from_seed,
    degraded_image,
    read_arrays,
    write_arrays,
)
from lineup_models.training import Watch, plainly


@dataclass(frozen=True, slots=True)
class Bank:
    """Features of a bank in memory; arrays have one entry per image.

    Attributes:
        header: Options, weight sets and names of photographs.
        model_ids: Id of each simulated generator, by its number.
        model: int32 (N,), number of the generator; -1 for photographs.
        photograph: int32 (N,), index into the header's photographs.
        crop: int32 (N,), number of the crop of that photograph.
        shared: bool (N,), whether all generators got this crop.
        psnr_db: float32 (N,), of the reconstruction; NaN for photographs.
        clean: float16 (N, D), features of the images.
        degraded: float16 (N, versions, D), features of degraded versions.
        degradations: float32 (N, versions, 5), attributes of `Degradation` in order.
    """

    header: Mapping[str, Any]
    model_ids: Mapping[int, str]
    model: npt.NDArray[np.int32]
    photograph: npt.NDArray[np.int32]
    crop: npt.NDArray[np.int32]
    shared: npt.NDArray[np.bool_]
    psnr_db: npt.NDArray[np.float32]
    clean: npt.NDArray[np.float16]
    degraded: npt.NDArray[np.float16]
    degradations: npt.NDArray[np.float32]

    @property
    def is_photograph(self) -> npt.NDArray[np.bool_]:
        """Which images went through no generator, bool (N,)."""
        return np.equal(self.model, PHOTOGRAPH)


def read_bank(folder: Path, features: str) -> Bank:
    """Read the features called `features` of all shards that have them so far.

    Raises:
        UsageError: There is no bank, or no shard with these features.
    """
    header = _header(folder)
    parts: list[dict[str, AnyArray]] = []
    ids: dict[int, str] = {}
    for shard in _shards(folder):
        path = shard / f"features-{features}.npz"
        if not path.exists():
            continue
        table = read_arrays(shard / "samples.npz")
        numbers = dict.fromkeys(table["model"].tolist())
        names = json.loads((shard / "shard.json").read_text())["models"]
        # Shards of photographs have a number but no names.
        ids.update(zip(numbers, names, strict=False))
        parts.append({**table, **read_arrays(path)})
    if not parts:
        raise UsageError(
            f"No shard of {folder} has the features {features!r}.",
            hint="Fill the bank first, or add these features to it.",
        )
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Bank(header=header, model_ids=ids, **arrays)


def add_features(
    folder: Path, name: str, features: FeatureFunction, *, watch: Watch = plainly
) -> int:
    """Compute features called `name` for all shards that lack them; return how many did.

    A shard gets arrays clean, float16 (N, D), degraded, float16 (N, versions, D), and
    degradations, float32 (N, versions, 5), the attributes of `Degradation` in order.

    Args:
        folder: A bank.
        name: What to call the features.
        features: Applied to the images and to their degraded versions.
        watch: Wraps the shards.

    Raises:
        UsageError: There is no bank, or its images are gone.
    """
    options = _header(folder)["options"]
    seed, versions = options["seed"], options["degraded_versions"]
    lacking = [one for one in _shards(folder) if not (one / f"features-{name}.npz").exists()]
    for shard in watch("features", lacking):
        kind, number = shard.name.rsplit("-", 1)
        # Degradations of photographs and models must not coincide.
        stream = 2 * int(number) + (kind == "models")
        images = _images(shard)
        clean = features(list(images)).astype(np.float16)
        degraded = np.empty((len(images), versions, clean.shape[1]), np.float16)
        degradations = np.empty((len(images), versions, len(fields(Degradation))), np.float32)
        for position, image in enumerate(images):
            drawn = [degradation_from_seed([seed, stream, position, n]) for n in range(versions)]
            if drawn:
                degraded[position] = features([degraded_image(image, one) for one in drawn])
                degradations[position] = [astuple(one) for one in drawn]
        arrays = {"clean": clean, "degraded": degraded, "degradations": degradations}
        write_arrays(shard / f"features-{name}.npz", arrays)
    return len(lacking)


def one_image_per_generator(folder: Path, count: int) -> Iterator[tuple[int, RgbImage]]:
    """Yield number and one image of `count` generators, spread evenly over the bank.

    The image is of a photograph that no other generator got.

    Raises:
        UsageError: There is no bank, or it has fewer generators.
    """
    _header(folder)
    shards = [shard for shard in _shards(folder) if shard.name.startswith("models-")]
    tables = [(shard, read_arrays(shard / "samples.npz")) for shard in shards]
    numbers = np.unique(np.concatenate([np.zeros(0, int), *(one["model"] for _, one in tables)]))
    if len(numbers) < count:
        raise UsageError(
            f"{folder} has {len(numbers)} generators, fewer than {count}.",
            hint="Ask for fewer, or fill a larger bank.",
        )
    wanted = set(numbers[np.arange(count) * len(numbers) // count].tolist())
    for shard, table in tables:
        images = _images(shard)
        for number in sorted(wanted & set(table["model"].tolist())):
            own = np.flatnonzero((table["model"] == number) & ~table["shared"])
            yield number, images[own[0]]


def _images(shard: Path) -> RgbTiles:
    path = shard / "images.npy"
    if not path.exists():
        raise UsageError(f"{shard} has no images.", hint="Fill the bank again.")
    images: RgbTiles = np.load(path)
    return images


def _header(folder: Path) -> dict[str, Any]:
    path = folder / BANK_NAME
    if not path.is_file():
        raise UsageError(f"{folder} is not a bank: it has no {BANK_NAME}.", hint="Fill one first.")
    header: dict[str, Any] = json.loads(path.read_text())
    return header


def _shards(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("*/shard.json"))
