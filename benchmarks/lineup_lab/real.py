"""Real against generated: photographs against the images of each generator.

The score of an image is the log likelihood ratio that the fingerprint bundle gives: a photograph
against a generated image. For each generator the AUC of all photographs against its images; the
overall figure is the mean over generators. Attacks change photographs and generated images alike:
otherwise the compression itself would tell them apart. All shares here are in percent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lineup.errors import UsageError
from lineup.gallery.support import REAL_NAME
from lineup.stream import DEFAULT_STREAM, StreamedImage, StreamOptions, TileCutter, rows_from_paths
from lineup.types import Float32Array, Float64Array, RgbTiles
from lineup_lab.dataset import ProtocolOptions, SourceFolder, check_names
from lineup_lab.metrics import (
    PERCENT,
    auc,
    bootstrap_counts,
    bootstrap_interval,
    resampled_aucs,
)


@dataclass(frozen=True, slots=True, eq=False)
class ScoredSources:
    """Log likelihood ratios of images.

    Attributes:
        llrs: Per source, shape (images,), photograph against generated.
        failures: Files that could not be used.
        duplicates: Files left out because their content was there already.
    """

    llrs: Mapping[str, Float64Array]
    failures: tuple[StreamedImage, ...] = ()
    duplicates: int = 0


def generators_from_names(names: Sequence[str], real: Sequence[str]) -> tuple[str, ...]:
    """Return the sources that are generators: all but the real ones.

    Raises:
        UsageError: No real source is named, one is not among `names`, or no generator is left.
    """
    hint = f"Sources: {', '.join(names)}."
    if not real:
        raise UsageError("No source of photographs is named.", hint=f"Name one: --real. {hint}")
    check_names("--real", real, names)
    generators = tuple(name for name in names if name not in real)
    if not generators:
        raise UsageError("Every source is --real, so that there is no generator.", hint=hint)
    return generators


def scored_sources(
    folders: Sequence[SourceFolder],
    cutter: TileCutter,
    compute: Callable[[Sequence[RgbTiles]], Float32Array],
    *,
    batch: int = DEFAULT_STREAM.group_images,
    on_file: Callable[[StreamedImage], None] = lambda _: None,
) -> ScoredSources:
    """Score every image of every source, in batches; of equal files the first counts.

    `compute` gives tiles of images one log likelihood ratio each; `on_file` is called after each.

    Raises:
        UsageError: A source has no usable image.
        BackendError: The model failed.
    """
    owners = [folder.name for folder in folders for _ in folder.paths]
    paths = (path for folder in folders for path in folder.paths)
    llrs: dict[str, list[float]] = {folder.name: [] for folder in folders}
    failures, seen = [], set()
    duplicates = 0
    answers = rows_from_paths(paths, cutter, compute, StreamOptions(group_images=batch))
    for name, (image, row) in zip(owners, answers, strict=True):
        if row is None:
            failures.append(image)
        elif image.sha256 in seen:
            duplicates += 1
        else:
            seen.add(image.sha256)
            llrs[name].append(float(row))
        on_file(image)
    for name, values in llrs.items():
        if not values:
            raise UsageError(f"No image of source {name!r} is usable.", hint="Take it out.")
    return ScoredSources({n: np.array(v) for n, v in llrs.items()}, tuple(failures), duplicates)


def real_result_from_llrs(
    llrs: Mapping[str, Float64Array], options: ProtocolOptions
) -> dict[str, Any]:
    """Run the protocol on the log likelihood ratios per source, shape (images,).

    Returns:
        `sources`: per generator `auc` of photographs against its images, `called_real`, the share
        of its images that are likelier photographs than not, and how many `images`; `auc_mean` over
        generators and `auc_ci`, its 95 % bootstrap interval over images; `photographs`: the share
        that is `called_generated`, and how many `images`; `cllr_bits`: cost of the log likelihood
        ratios (Bruemmer and du Preez 2006), every generator with the same weight: 0 for certainty,
        1 for ratios that say nothing, more for ratios that mislead.

    Raises:
        UsageError: See `generators_from_names`.
    """
    names = generators_from_names(list(llrs), options.real)
    photographs = np.concatenate([llrs[name] for name in options.real])
    results = {
        name: {
            "auc": PERCENT * auc(photographs, llrs[name]),
            "called_real": PERCENT * float(np.mean(llrs[name] > 0)),
            "images": len(llrs[name]),
        }
        for name in names
    }
    generated = {name: llrs[name] for name in names}
    sizes = {REAL_NAME: len(photographs)} | {name: len(rows) for name, rows in generated.items()}
    means = [
        np.mean(
            [
                resampled_aucs(photographs, rows, counts[REAL_NAME], counts[name])
                for name, rows in generated.items()
            ],
            axis=0,
        )
        for counts in bootstrap_counts(sizes, seed=options.seed, resamples=options.resamples)
    ]
    called_generated = PERCENT * float(np.mean(photographs < 0))
    return {
        "sources": results,
        "auc_mean": float(np.mean([one["auc"] for one in results.values()])),
        "auc_ci": list(bootstrap_interval(PERCENT * np.concatenate(means))),
        "photographs": {"called_generated": called_generated, "images": len(photographs)},
        "cllr_bits": _cllr_bits(photographs, list(generated.values())),
    }


def _cllr_bits(photographs: Float64Array, generated: Sequence[Float64Array]) -> float:
    missed = np.logaddexp(0, -photographs).mean()
    false = np.mean([np.logaddexp(0, one).mean() for one in generated])
    return float((missed + false) / (2 * np.log(2)))
