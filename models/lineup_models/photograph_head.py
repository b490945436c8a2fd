"""Fitting the head that tells photographs from generated images by a CLIP tower and texture.

A logistic regression over the tokens of three blocks and the final embedding, and over the
fingerprint's texture, which weighs as much as all tokens together. Every image is seen in several
views; a view in which the runtime finds nothing to judge (a black frame, a plain sky) is
neither fitted nor measured. Sources weigh the same among generated images, collections among
photographs: the trap is to learn a collection. What people made without a camera counts as
photographs do (`lineup_models.outside`): the head says what is not generated. What the log odds
are worth is fitted on generators and collections that a fit has not seen: each is left out in turn,
generators with all others whose names begin with the same letters, and a line through what is said
of them makes log likelihood ratios.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from lineup.channels import CLEAN, DRAWN, through_channel
from lineup.errors import UsageError
from lineup.finding import find_images
from lineup.fingerprint import FingerprintExtractor, unjudged_reason
from lineup.models.encoder import ImageEncoder
from lineup.reference import (
    PHOTOGRAPH_FILE,
    PhotographHead,
    PhotographRecord,
    features_from_tokens,
)
from lineup.text import first_letters
from lineup.types import Float32Array, Float64Array
from lineup_models.photographs import pixels_from_path, ranked
from lineup_models.training import Watch, plainly

BLOCKS = (7, 9, 11)
"""Counted from 1; the final embedding comes after them."""

VIEWS = (CLEAN, "jpeg:70", "resize:0.5", DRAWN)

PER_FOLDER = 1000
"""Most images of a folder, drawn by the hash of their names. Of a collection of a thousand 700
instead of 200 caught 7 to 11 % more of the generated images that were left out
(models/README.md)."""

HELD_OUT = 1 / 3
"""Share of the photographs of each folder that no fit sees: those whose names have the highest
SHA-256."""

REGULARISATION = 0.01
"""Inverse strength of the ridge on standardised features."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Tokens of images, one row per image and view.

    Attributes:
        rows: Float32 (n, features), of several parts side by side.
        parts: Their lengths.
        image: Number of the image of each row.
        group: Number of the folder of each row.
        view: Number of the view of each row.
        is_photograph: Per row.
        names: Of the folders.
    """

    rows: Float32Array
    parts: tuple[int, ...]
    image: Float64Array
    group: Float64Array
    view: Float64Array
    is_photograph: Float64Array
    names: tuple[str, ...]


def fitted_paths(folder: Path, held_out: float) -> list[Path]:
    """Return the images of a folder that are fitted on, a share of them held out."""
    paths = ranked(find_images([folder]))
    return paths[: _kept(paths, held_out)][:PER_FOLDER]


def held_out_paths(folder: Path) -> list[Path]:
    """Return the photographs of a folder that stay apart for evaluation."""
    paths = ranked(find_images([folder]))
    return paths[_kept(paths, HELD_OUT) :]


def _kept(paths: Sequence[Path], held_out: float) -> int:
    return len(paths) - round(held_out * len(paths))


def samples_from_folders(
    photographs: Sequence[Path],
    generated: Sequence[Path],
    encoder: ImageEncoder,
    extractor: FingerprintExtractor,
    watch: Watch = plainly,
    *,
    held_out: float = HELD_OUT,
) -> Samples:
    """Look at every image of some folders, in every view.

    Args:
        photographs: One folder per collection.
        generated: One folder per generator.
        encoder: The tower.
        extractor: Whose fingerprints' last part is read.
        watch: Wraps the images.
        held_out: Share of the photographs of each folder that is not looked at.
    """
    jobs = [
        (number, path, is_photograph)
        for number, (folder, is_photograph) in enumerate(
            [*((one, True) for one in photographs), *((one, False) for one in generated)]
        )
        for path in fitted_paths(folder, held_out if is_photograph else 0.0)
    ]
    rows, marks, texture = [], [], extractor.parts[-1]
    for image, (number, path, is_photograph) in enumerate(watch("images", jobs)):
        pixels = pixels_from_path(path)
        seen = [through_channel(pixels, view, path.name) for view in VIEWS]
        judged = [at for at, one in enumerate(seen) if unjudged_reason(one) is None]
        views = [seen[at] for at in judged]
        if not views:
            continue
        tokens = encoder.features_of_layers(views, [*BLOCKS, "final"])
        rows.append(features_from_tokens(tokens, extractor.fingerprints(views), texture))
        marks += [(image, number, view, is_photograph) for view in judged]
    names = tuple(folder.name for folder in (*photographs, *generated))
    found = np.concatenate(rows)
    parts = (found.shape[1] - texture, texture)
    image_of, group, view_of, camera = np.array(marks, np.float64).T
    return Samples(found, parts, image_of, group, view_of, camera, names)


def head_from_samples(
    samples: Samples, source: str, fingerprint: str
) -> tuple[PhotographHead, dict[str, float]]:
    """Fit the head; return it and what it is worth on what was left out.

    Args:
        samples: At least two folders of each class.
        source: `ImageEncoder.source`.
        fingerprint: Digest of the extractor's bundle.

    Returns:
        The head; and, measured on left-out generators against left-out collections, AUC per view
        and the share of generated images that look less like photographs than 98 % of these, each
        the mean over generators.

    Raises:
        UsageError: A class has fewer than two folders.
    """
    started = time.perf_counter()
    truth = samples.is_photograph > 0
    for kind, name in ((truth, "photographs"), (~truth, "generated images")):
        if len(np.unique(samples.group[kind])) < 2:
            raise UsageError(
                f"There are fewer than two folders of {name}.",
                hint="Each is left out in turn, to measure what was not trained on.",
            )
    left_out = _left_out_logits(samples)
    slope, intercept = _line(left_out, truth, _weights(samples, np.ones(len(truth), bool)))
    weights, bias = _fit(samples, np.ones(len(truth), bool))
    ratios, images = (
        slope * left_out + intercept,
        [len(np.unique(samples.image[kind])) for kind in (truth, ~truth)],
    )
    limit = math.log(2 + min(images))
    worth = _worth(samples, left_out)
    record = PhotographRecord(
        source=source,
        fingerprint=fingerprint,
        blocks=BLOCKS,
        bias=slope * bias + intercept,
        limit=limit,
        photographs=images[0],
        generated=images[1],
        details={
            "folders": ", ".join(samples.names),
            "looks": len(truth),
            "seconds": round(time.perf_counter() - started, 1),
            **{name: round(value, 2) for name, value in worth.items()},
        },
    )
    left = [np.clip(np.sort(ratios[kind]), -limit, limit) for kind in (truth, ~truth)]
    arrays = [one.astype(np.float32) for one in (slope * weights, *left)]
    return PhotographHead(record, *arrays), worth


def write_head(path: Path, head: PhotographHead) -> None:
    """Write the head's file, in one step."""
    arrays = {name: getattr(head, name) for name in ("weights", "photographs", "generated")}
    PHOTOGRAPH_FILE.write(
        path, head.record, {name: one.astype(np.float16) for name, one in arrays.items()}
    )


def _left_out_logits(samples: Samples) -> Float64Array:
    """Return each row's log odds by fits that saw neither its generator nor one collection."""
    truth = samples.is_photograph > 0
    collections = np.unique(samples.group[truth])
    versions: dict[str, list[int]] = {}
    for generator in np.unique(samples.group[~truth]).astype(int).tolist():
        versions.setdefault(first_letters(samples.names[generator]), []).append(generator)
    if len(versions) == 1:  # names that tell nothing
        versions = {str(one): [one] for one in next(iter(versions.values()))}
    total, count = np.zeros(len(truth)), np.zeros(len(truth))
    for number, generators in enumerate(versions.values()):
        collection = collections[number % len(collections)]
        out = np.isin(samples.group, [*generators, collection])
        weights, bias = _fit(samples, ~out)
        total[out] += samples.rows[out] @ weights + bias
        count[out] += 1
    found: Float64Array = total / np.maximum(count, 1)
    return found


def _weights(samples: Samples, chosen: np.typing.NDArray[np.bool_]) -> Float64Array:
    """Return a weight per row: classes share evenly, and folders within them."""
    weights = np.zeros(len(samples.rows))
    for is_photograph in (0.0, 1.0):
        groups = np.unique(samples.group[chosen & (samples.is_photograph == is_photograph)])
        for group in groups:
            rows = chosen & (samples.group == group)
            weights[rows] = chosen.sum() / (2 * len(groups) * rows.sum())
    return weights


def _fit(samples: Samples, chosen: np.typing.NDArray[np.bool_]) -> tuple[Float64Array, float]:
    """Return weights and bias of the log odds of a photograph over raw features.

    The ridge is on features of variance 1, scaled so that all parts vary alike as wholes.
    """
    rows = samples.rows[chosen].astype(np.float64)
    mean, deviation = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-9)
    parts = np.array(samples.parts)
    deviation *= np.repeat(np.sqrt(len(parts) * parts / parts.sum()), parts)
    fit = LogisticRegression(C=REGULARISATION, max_iter=2000)
    fit.fit(
        (rows - mean) / deviation,
        samples.is_photograph[chosen] > 0,
        sample_weight=_weights(samples, chosen)[chosen],
    )
    weights: Float64Array = fit.coef_[0] / deviation
    return weights, float(fit.intercept_[0] - weights @ mean)


def _line(
    logits: Float64Array, truth: np.typing.NDArray[np.bool_], weights: Float64Array
) -> tuple[float, float]:
    """Return slope and intercept of the log ratio; a falling line would speak against itself."""
    fit = LogisticRegression(C=1e6).fit(logits[:, None], truth, sample_weight=weights)
    slope = float(fit.coef_[0, 0])
    return (slope, float(fit.intercept_[0])) if slope > 0 else (0.0, 0.0)


def _worth(samples: Samples, logits: Float64Array) -> dict[str, float]:
    """Return means over generators, so that each counts the same."""
    truth = samples.is_photograph > 0
    generators = np.unique(samples.group[~truth])
    worth = {}
    for number, view in enumerate(VIEWS):
        own = samples.view == number
        photographs = np.sort(logits[own & truth])
        limit = np.quantile(photographs, 0.02)
        seen = [rows for one in generators if (rows := logits[own & (samples.group == one)]).size]
        ranks = [np.searchsorted(photographs, rows).mean() / len(photographs) for rows in seen]
        worth[f"auc {view}"] = 100 - 100 * float(np.mean(ranks))
        worth[f"caught {view}"] = 100 * float(np.mean([(rows < limit).mean() for rows in seen]))
    return worth


def summary(worth: Mapping[str, float]) -> str:
    """Return the figures in one line."""
    return ", ".join(f"{name} {value:.1f}" for name, value in worth.items())
