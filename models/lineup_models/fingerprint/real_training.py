"""Fitting the head that tells photographs from generated images, on images of real generators."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch.nn.functional import logsigmoid

from lineup.channels import DRAWN
from lineup.finding import find_images
from lineup.text import first_letters
from lineup.types import AnyArray, Float64Array
from lineup_models.fingerprint.real_head import (
    DEVIATIONS_MAX,
    RATIO_MAX,
    RealWeights,
    claims_from_ratios,
)
from lineup_models.fingerprint.real_images import (
    CHANNELS,
    LEARNT,
    SeenImage,
    at_most_per_folder,
    seen_images,
)
from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.photographs import (
    HOLD_OUT,
    HOLD_OUT_RULE,
    generator_folders,
    split_photographs,
)
from lineup_models.training import Watch, computing, plainly

SHARES = tuple(percent / 100 for percent in range(1, 61))
"""Shares of odd photographs and of traceless images that are considered: some hundred images can
show no smaller one."""

FALSE_ALARMS = 0.02
"""Share of held-out photographs beyond the threshold that generated images are counted at."""


@dataclass(frozen=True, slots=True)
class RealOptions:
    """How the head is fitted.

    How far it can be trusted, `RealWeights.odd` and `RealWeights.traceless`, is measured: each
    generator in turn, with those whose names begin with the same letters (versions of one), is
    left out of the fit, together with a part of the photographs, and the two
    shares are those under which what the head claims of the left-out images in drawn channels is
    likeliest (the lowest log loss; every generator counts the same, and every folder of
    photographs). A claim of log ratio l then has odds of about exp(l) there.

    Attributes:
        hold_out: Photographs that are never used, for evaluation.
        photos_per_folder: Most photographs of one folder: those whose names have the lowest
            SHA-256.
        tiles_per_image: Most tiles of an image in one channel.
        ridge: Of the logistic regression on standardised statistics.
    """

    hold_out: int = HOLD_OUT
    photos_per_folder: int = 200
    tiles_per_image: int = 4
    ridge: float = 0.1


def fit_real_head(
    photos: Sequence[Path],
    generated: Sequence[Path],
    spec: SpectrumSpec,
    options: RealOptions,
    *,
    watch: Watch = plainly,
) -> tuple[RealWeights, dict[str, Any]]:
    """Fit the head; the same files, settings and library versions give the same numbers.

    It learns from each image as it is and in its drawn channel. Give photographs of several
    origins: of one collection, resized alike, it would learn the resize.

    Args:
        photos: Folders of photographs, searched recursively.
        generated: Hold a folder of images per generator; those that are given as photographs are
            none.
        spec: Constants of the spectrum.
        options: How.
        watch: Wraps the images.

    Returns:
        The head, and its record (plain JSON values): in `left_out`, per channel and generator that
        the head was fitted without, the AUC against held-out photographs and the share of images
        beyond the threshold that `FALSE_ALARMS` of those reach, in percent.

    Raises:
        UsageError: There are too few photographs or generators.
        ImageError: An image cannot be decoded.
    """
    started = time.perf_counter()
    made = sorted(find_images(generator_folders(generated, photos)))
    split = split_photographs(photos, options.hold_out)

    def seen(name: str, paths: Sequence[Path], *, is_generated: bool = False) -> list[SeenImage]:
        tiles = options.tiles_per_image
        watched = watch(name, paths)
        return list(seen_images(watched, spec, is_generated=is_generated, tiles_per_image=tiles))

    with computing(threads=1):
        images = seen("photographs", at_most_per_folder(split.fit, options.photos_per_folder))
        images += seen("generated", made, is_generated=True)
        held_out = seen("held out", split.held_out)
        trials = list(trials_from_images(images, options))
        odd, traceless = doubts_from_trials(trials)
        weights = real_weights_from_images(images, options)
    record = {
        "images": dict(Counter(image.group for image in images)),
        "photographs_held_out": len(held_out),
        "hold_out_rule": HOLD_OUT_RULE,
        "channels": list(LEARNT),
        "options": asdict(options),
        "odd": odd,
        "traceless": traceless,
        "left_out": figures_from_trials(trials, held_out) if held_out else {},
        "seconds": round(time.perf_counter() - started, 1),
    }
    return replace(weights, odd=odd, traceless=traceless), record


def real_weights_from_images(images: Sequence[SeenImage], options: RealOptions) -> RealWeights:
    """Fit the regression.

    Both classes have the same weight; within a class every group, within a group every image, and
    so on down to the tiles of an image in one channel.
    """
    tiles, labels, shares = [], [], []
    sizes = Counter((image.is_generated, image.group) for image in images)
    groups = Counter(is_generated for is_generated, _ in sizes)
    for image in images:
        of_image = groups[image.is_generated] * sizes[image.is_generated, image.group]
        for channel in LEARNT:
            rows = image.statistics[channel]
            tiles.append(rows)
            labels += [image.is_generated] * len(rows)
            shares += [0.5 / (of_image * len(LEARNT) * len(rows))] * len(rows)
    rows, weight = np.concatenate(tiles).astype(np.float64), np.array(shares)
    mean = weight @ rows
    deviation = np.sqrt(weight @ (rows - mean) ** 2)
    # Statistics that never vary carry nothing; a deviation of 1 keeps them finite.
    deviation = np.where(deviation > 1e-9, deviation, 1.0)
    # The ridge is on the weights of both classes, half of the difference each: hence the 2.
    fit = LogisticRegression(C=2 / options.ridge, tol=1e-8, max_iter=1000)
    fit.fit(_standardised(rows, mean, deviation), labels, sample_weight=weight)
    return RealWeights(mean, deviation, fit.coef_[0], float(fit.intercept_[0]))


def ratios_from_images(
    weights: RealWeights, images: Iterable[SeenImage], channel: str
) -> Float64Array:
    """Return the log likelihood ratio of each image, unbounded, photograph against generated."""
    return np.array(
        [
            -weights.bias
            - (
                _standardised(image.statistics[channel], weights.mean, weights.deviation)
                @ weights.weights
            ).mean()
            for image in images
        ]
    )


def _standardised(rows: AnyArray, mean: Float64Array, deviation: Float64Array) -> Float64Array:
    found: Float64Array = np.clip((rows - mean) / deviation, -DEVIATIONS_MAX, DEVIATIONS_MAX)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A head that was fitted without some images.

    Attributes:
        weights: The head.
        left_out: Every image of one generator and its kin, and a part of the photographs.
    """

    weights: RealWeights
    left_out: tuple[SeenImage, ...]


def trials_from_images(images: Sequence[SeenImage], options: RealOptions) -> Iterator[Trial]:
    """Leave each generator out in turn with its kin, and as many parts of the photographs."""
    kin = sorted({first_letters(image.group) for image in images if image.is_generated})
    parts = [
        first_letters(image.group) if image.is_generated else kin[place % len(kin)]
        for place, image in enumerate(images)
    ]
    for name in kin:
        rest = [image for image, part in zip(images, parts, strict=True) if part != name]
        left_out = tuple(image for image, part in zip(images, parts, strict=True) if part == name)
        yield Trial(real_weights_from_images(rest, options), left_out)


def doubts_from_trials(trials: Iterable[Trial]) -> tuple[float, float]:
    """Return the shares `odd` and `traceless` under which left-out images are likeliest."""
    ratios: dict[tuple[bool, str], list[float]] = {}
    for trial in trials:
        found = ratios_from_images(trial.weights, trial.left_out, DRAWN)
        for image, ratio in zip(trial.left_out, found.tolist(), strict=True):
            ratios.setdefault((image.is_generated, image.group), []).append(ratio)
    groups = Counter(is_generated for is_generated, _ in ratios)
    flat = torch.tensor([one for own in ratios.values() for one in own], dtype=torch.float64)
    flat = flat.clamp(-RATIO_MAX, RATIO_MAX)
    signs = torch.tensor([(-1.0 if key[0] else 1.0) for key, own in ratios.items() for _ in own])
    shares = torch.tensor(
        [1 / (groups[key[0]] * len(own)) for key, own in ratios.items() for _ in own],
        dtype=torch.float64,
    )
    grid = torch.tensor(SHARES, dtype=torch.float64)
    claims = claims_from_ratios(flat[:, None, None], odd=grid[:, None], traceless=grid)
    likelihood = torch.einsum("i,ijk->jk", shares, logsigmoid(signs[:, None, None] * claims))
    odd, traceless = divmod(int(likelihood.argmax()), len(SHARES))
    return SHARES[odd], SHARES[traceless]


def figures_from_trials(
    trials: Iterable[Trial], held_out: Sequence[SeenImage]
) -> dict[str, dict[str, Mapping[str, float]]]:
    """Return AUC and share beyond the threshold, in percent, per channel and left-out generator."""
    figures: dict[str, dict[str, Mapping[str, float]]] = {channel: {} for channel in CHANNELS}
    for trial in trials:
        generated: dict[str, list[SeenImage]] = {}
        for image in trial.left_out:
            if image.is_generated:
                generated.setdefault(image.group, []).append(image)
        for channel, (name, images) in product(CHANNELS, generated.items()):
            real = ratios_from_images(trial.weights, held_out, channel)
            found = ratios_from_images(trial.weights, images, channel)
            labels = np.repeat([True, False], [len(real), len(found)])
            beyond = (found < np.quantile(real, FALSE_ALARMS)).mean()
            figures[channel][name] = {
                "auc": round(100 * float(roc_auc_score(labels, np.concatenate([real, found]))), 1),
                "beyond": round(100 * float(beyond), 1),
            }
    return figures
