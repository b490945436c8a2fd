"""Fitting the whitening: photographs in, mean and principal axes of their spectra out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lineup.errors import ImageError, UsageError
from lineup.imaging.tiles import TileSpec, tiles_from_image
from lineup.types import Float32Array, Float64Array
from lineup_models.fingerprint.checkpoint import Checkpoint, Whitening
from lineup_models.fingerprint.covariance import PrincipalAxes, WeightedRows
from lineup_models.fingerprint.dft import LatticeContrast
from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.fingerprint.spectrum import PooledSpectrum
from lineup_models.photographs import (
    HOLD_OUT_RULE,
    pixels_from_path,
    split_photographs,
    versions_of_photograph,
)
from lineup_models.simulator.bank_reader import Bank
from lineup_models.training import Watch, computing, plainly, tool_versions


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How photographs become samples.

    Attributes:
        hold_out: Photographs that are never used, for evaluation.
        tiles_per_photo: Tiles of a photograph, spread over it, whose log-spectra are averaged to
            one sample.
        jpeg_copies: Samples from re-compressed copies, per photograph.
        seed: Of the qualities.
    """

    hold_out: int = 150
    tiles_per_photo: int = 1
    jpeg_copies: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Fit:
    """What a fit gives, and the photographs that could not be decoded, each with the reason."""

    checkpoint: Checkpoint
    skipped: Mapping[Path, str]


def fit_whitening(
    folder: Path,
    spec: SpectrumSpec,
    options: FitOptions,
    *,
    bank: Bank | None = None,
    watch: Watch = plainly,
) -> Fit:
    """Fit mean and principal axes on the photographs of a folder.

    The same files, settings and library versions give the same numbers.

    Args:
        folder: Searched recursively for images.
        spec: Constants of the spectrum.
        options: How photographs become samples.
        bank: Spectra of reconstructions that shape the axes as well; None fits on photographs
            alone.
        watch: Wraps the photographs.

    Raises:
        UsageError: There are fewer than two photographs that can be used.
    """
    started = time.perf_counter()
    split = split_photographs(folder, options.hold_out)
    principal = PrincipalAxes(spec.dimension)
    contrasts: list[Float32Array] = []
    # One thread: sums come in the same order on every machine. It is faster as well where other
    # work keeps the cores busy: threads that wait for each other after each of many small
    # operations wait for the scheduler.
    with computing(threads=1):
        photographs = watch("photographs", split.fit)
        skipped = _gather(photographs, spec, options, principal, contrasts)
        used = len(split.fit) - len(skipped)
        if used < 2:
            raise UsageError(
                f"Only {used} of {len(split.fit)} photographs in {folder} can be decoded; "
                "the fit needs at least two.",
                hint=": ".join(map(str, next(iter(skipped.items())))) if skipped else None,
            )
        found = principal.found(axes=spec.axes, floor=spec.floor)
        if bank is not None:
            cohort = CohortOptions()
            rows = cohort_from_bank(bank, found.mean, cohort)
            found = principal.mixed(
                list(rows.values()),
                own_weight=cohort.photographs,
                axes=spec.axes,
                floor=found.floor,
            )
    lattice = np.stack(contrasts)
    deviation = lattice.std(axis=0, dtype=np.float64)
    whitening = Whitening(
        mean=found.mean,
        axes=found.axes,
        variances=found.variances,
        floor=found.floor,
        lattice_mean=lattice.mean(axis=0, dtype=np.float64),
        # Contrasts that never vary carry nothing; a deviation of 1 keeps them finite.
        lattice_deviation=np.where(deviation > 0, deviation, 1.0),
    )
    record = {
        **_cohort_record(bank),
        "photographs": used,
        "photographs_skipped": len(skipped),
        "photographs_held_out": len(split.held_out),
        "hold_out_rule": HOLD_OUT_RULE,
        "samples": principal.count,
        "options": asdict(options),
        "tools": tool_versions(),
        "seconds": round(time.perf_counter() - started, 1),
    }
    return Fit(Checkpoint(spec, whitening, record), skipped)


def _gather(
    photographs: Iterable[Path],
    spec: SpectrumSpec,
    options: FitOptions,
    principal: PrincipalAxes,
    contrasts: list[Float32Array],
) -> dict[Path, str]:
    """Add the samples of all photographs and their copies; return those that cannot be decoded."""
    spectrum, lattice = PooledSpectrum(spec).eval(), LatticeContrast(spec.tile_size_px).eval()
    tiling = TileSpec(size_px=spec.tile_size_px, max_tiles=options.tiles_per_photo)
    skipped: dict[Path, str] = {}
    for path in photographs:
        try:
            pixels = pixels_from_path(path)
        except ImageError as error:
            skipped[path] = error.message
            continue
        for version in versions_of_photograph(
            pixels, path.name, jpeg_copies=options.jpeg_copies, seed=options.seed
        ):
            tiles = torch.from_numpy(tiles_from_image(version, tiling))
            with torch.inference_mode():
                levels = spectrum.levels(tiles)
                principal.add(spectrum.pooled(levels).mean(0).numpy())
                contrasts.append(lattice(levels).mean(0).numpy())
    return skipped


def _cohort_record(bank: Bank | None) -> dict[str, Any]:
    if bank is None:
        return {}
    counts = {
        "simulated_generators": len(bank.model_ids),
        "reconstructions": int((~bank.is_photograph).sum()),
    }
    return {
        "cohort": {**counts, "options": asdict(CohortOptions()), "bank": bank.header["options"]}
    }


@dataclass(frozen=True, slots=True)
class CohortOptions:
    """How photographs and reconstructions are mixed into one covariance.

    Attributes:
        photographs: Weight of the covariance of photographs.
        within: Weight of the covariance within a simulated generator.
        between: Weight of the second moment of generators' means about the photographs' mean.
        degraded: Weight of the second moment of what compression and resizing change.
        rows: Most samples of each kind, drawn at random.
        seed: Of the draw.
    """

    photographs: float = 0.7
    within: float = 0.3
    between: float = 0.03
    degraded: float = 0.05
    rows: int = 900
    seed: int = 0


def cohort_from_bank(
    bank: Bank, mean: Float64Array, options: CohortOptions
) -> Mapping[str, WeightedRows]:
    """Return the deviations that reconstructions contribute, by kind.

    Args:
        bank: Pooled log-spectra of reconstructions, clean and degraded.
        mean: Mean of photographs, (dimension,).
        options: Weights and how many samples to draw.

    Raises:
        UsageError: The bank holds no generator with two images, or other spectra.
    """
    if bank.clean.shape[1] != len(mean):
        raise UsageError(
            f"The bank holds spectra of length {bank.clean.shape[1]}, expected {len(mean)}.",
            hint="Fill a bank with the spectrum settings of this fit.",
        )
    generated = ~bank.is_photograph
    models, inverse, counts = np.unique(
        bank.model[generated], return_inverse=True, return_counts=True
    )
    if len(models) == 0 or counts.max() < 2:
        raise UsageError(
            "The bank holds no generator with at least two images.",
            hint="Fill it with: python -m lineup_models.simulator bank --help",
        )
    clean = bank.clean[generated].astype(np.float64)
    means = np.stack([clean[inverse == index].mean(axis=0) for index in range(len(models))])
    several = counts[inverse] > 1
    unbiased = np.sqrt(counts[inverse] / np.maximum(counts[inverse] - 1, 1))
    within = (clean - means[inverse]) * unbiased[:, None]
    shifts = bank.degraded[generated].astype(np.float64) - clean[:, None]
    draw = np.random.default_rng(options.seed)
    kinds = {
        "within": (within[several], options.within),
        "between": (means - mean, options.between),
        "degraded": (shifts.reshape(-1, clean.shape[1]), options.degraded),
    }
    return {
        name: (_drawn(rows, options.rows, draw), weight) for name, (rows, weight) in kinds.items()
    }


def _drawn(rows: Float64Array, count: int, draw: np.random.Generator) -> Float64Array:
    if len(rows) <= count:
        return rows
    return rows[np.sort(draw.choice(len(rows), count, replace=False))]
