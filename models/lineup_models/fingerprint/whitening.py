"""Fitting the whitening: photographs in, mean and principal axes of their spectra out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lineup.errors import ImageError, UsageError
from lineup.imaging.decode import bytes_from_path, image_from_bytes
from lineup.imaging.tiles import TileSpec, tiles_from_image
from lineup.types import AnyArray, Float32Array, RgbImage
from lineup_models.fingerprint.checkpoint import Checkpoint, Whitening
from lineup_models.fingerprint.covariance import (
    CohortOptions,
    FoundAxes,
    PrincipalAxes,
    cohort_from_bank,
)
from lineup_models.fingerprint.dft import LatticeContrast
from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.fingerprint.spectrum import PooledSpectrum
from lineup_models.photographs import (
    HOLD_OUT_RULE,
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
class SkippedPhotograph:
    """A photograph that the fit could not use.

    Attributes:
        path: The file.
        reason: Why, for the user.
    """

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Fit:
    """What a fit gives.

    Attributes:
        checkpoint: The whitening and its record.
        skipped: Photographs that could not be decoded.
    """

    checkpoint: Checkpoint
    skipped: tuple[SkippedPhotograph, ...]


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
        skipped = _gather(photographs, _Sampler(spec, options), principal, contrasts)
        used = len(split.fit) - len(skipped)
        if used < 2:
            raise UsageError(
                f"Only {used} of {len(split.fit)} photographs in {folder} can be decoded; "
                "the fit needs at least two.",
                hint=f"{skipped[0].path}: {skipped[0].reason}" if skipped else None,
            )
        found = principal.found(axes=spec.axes, floor=spec.floor)
        if bank is not None:
            cohort = CohortOptions()
            rows = cohort_from_bank(bank, found.mean, cohort)
            mixed = principal.mixed(
                list(rows.values()), own_weight=cohort.photographs, axes=spec.axes
            )
            found = replace(mixed, floor=found.floor)
        whitening = _whitening(found, np.stack(contrasts))
    record = {
        **_cohort_record(bank),
        **_data_record(options, used, len(skipped), len(split.held_out), principal.count),
        "seconds": round(time.perf_counter() - started, 1),
    }
    return Fit(Checkpoint(spec, whitening, record), tuple(skipped))


def _whitening(found: FoundAxes, contrasts: Float32Array) -> Whitening:
    return Whitening(
        mean=found.mean,
        axes=found.axes,
        variances=found.variances,
        floor=found.floor,
        lattice_mean=contrasts.mean(axis=0, dtype=np.float64),
        # Contrasts that never vary carry nothing; a deviation of 1 keeps them finite.
        lattice_deviation=_or_one(contrasts.std(axis=0, dtype=np.float64)),
    )


def _or_one(values: AnyArray) -> AnyArray:
    return np.where(values > 0, values, 1.0)


def _gather(
    photographs: Iterable[Path],
    sampler: _Sampler,
    principal: PrincipalAxes,
    contrasts: list[Float32Array],
) -> list[SkippedPhotograph]:
    """Add the samples of all photographs; return those that cannot be decoded."""
    skipped: list[SkippedPhotograph] = []
    for path in photographs:
        try:
            pixels = image_from_bytes(bytes_from_path(path)).pixels
        except ImageError as error:
            skipped.append(SkippedPhotograph(path, error.message))
            continue
        for spectrum, contrast in sampler.samples(pixels, path.name):
            principal.add(spectrum)
            contrasts.append(contrast)
    return skipped


class _Sampler:
    """Turns photographs into pooled log-spectra and lattice contrasts."""

    def __init__(self, spec: SpectrumSpec, options: FitOptions) -> None:
        self.spectrum = PooledSpectrum(spec).eval()
        self.lattice = LatticeContrast(spec.tile_size_px).eval()
        self.options = options
        self.tiling = TileSpec(size_px=spec.tile_size_px, max_tiles=options.tiles_per_photo)

    def samples(self, pixels: RgbImage, name: str) -> list[tuple[Float32Array, Float32Array]]:
        """Return the sample of the photograph, then those of its copies.

        Each is a pooled log-spectrum (dimension,) and the lattice contrasts (81,).
        """
        options = self.options
        versions = versions_of_photograph(
            pixels,
            name,
            jpeg_copies=options.jpeg_copies,
            seed=options.seed,
        )
        return [self._sample(version) for version in versions]

    def _sample(self, pixels: RgbImage) -> tuple[Float32Array, Float32Array]:
        tiles = tiles_from_image(pixels, self.tiling)
        with torch.inference_mode():
            levels = self.spectrum.levels(torch.from_numpy(tiles))
            spectrum = self.spectrum.pooled(levels).mean(0)
            contrast = self.lattice(levels).mean(0)
        return spectrum.numpy(), contrast.numpy()


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


def _data_record(
    options: FitOptions, used: int, skipped: int, held_out: int, samples: int
) -> Mapping[str, Any]:
    return {
        "photographs": used,
        "photographs_skipped": skipped,
        "photographs_held_out": held_out,
        "hold_out_rule": HOLD_OUT_RULE,
        "samples": samples,
        "options": asdict(options),
        "tools": tool_versions(),
    }
