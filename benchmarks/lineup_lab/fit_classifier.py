"""Closed-set and (T+1)-way classification of fingerprints, fitted in seconds.

A multinomial logistic regression over T known classes and, where reject fingerprints are given, one
more class for everything else: "none of them".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from lineup.classifier import OpenSetClassifier, Training, check_classes
from lineup.errors import ClassifierError, UsageError
from lineup.finding import find_images
from lineup.fusion import verdict_from_evidence
from lineup.gallery.channel_comparing import Images
from lineup.gallery.gallery import Gallery, fingerprint_mismatch
from lineup.gallery.opening import gallery_from_path
from lineup.gallery.scoring import SourceScorer
from lineup.gallery.store import MANIFEST
from lineup.gallery.support import REAL_NAME, SourceRole, SupportSet, check_fingerprints
from lineup.paths import shipped_reject_path
from lineup.results import Evidence
from lineup.stream import DEFAULT_STREAM, StreamedImage
from lineup.types import Float32Array, Float64Array
from lineup_lab.dataset import TileFingerprinter, fingerprints_from_paths

KnownProbabilities = Callable[[Float32Array], Float64Array]
"""Fingerprints (N, D) to probabilities of the known classes (N, T), in the order of the fit."""

Fit = Callable[[Mapping[str, Float32Array]], KnownProbabilities]
"""Fingerprints per known class to a classifier."""

RIDGE = 0.003
"""Penalty on the squared weights. Fingerprints have length 1, so one value serves all of them."""

TOLERANCE = 1e-6
"""The largest partial derivative at which the fit ends; at the start it is about 0.01 to 0.1."""
MAX_STEPS = 1000


def classifier_from_fingerprints(
    known: Mapping[str, Float32Array],
    *,
    fingerprint_digest: str,
    reject: Float32Array | None = None,
    ridge: float = RIDGE,
    provenance: str = "",
    version: str = "",
) -> OpenSetClassifier:
    """Minimise the class-balanced log loss plus ridge / 2 times the squared weights.

    Args:
        known: Fingerprints per class, shape (N, D), float32, rows L2-normalised.
        fingerprint_digest: Identity of the bundle that made them.
        reject: Fingerprints of what is none of the classes, shape (R, D).
        ridge: Above 0. Biases are not penalised.
        provenance: Where the images came from, for people.
        version: Version of lineup, kept with the classifier.

    Raises:
        ClassifierError: Too few classes, an impossible name, or dimensions differ.
        GalleryError: Fingerprints are malformed.
    """
    check_classes(tuple(known))
    sets = [*known.values(), *([] if reject is None else [reject])]
    for name, rows in zip([*known, "reject"], sets, strict=False):
        check_fingerprints(rows, f"class {name!r}")
    if len({rows.shape[1] for rows in sets}) > 1:
        raise ClassifierError(
            "the fingerprints to fit on have different dimensions: "
            f"{sorted({rows.shape[1] for rows in sets})}",
            hint="Make all of them with the same fingerprint bundle.",
        )
    counts = np.array([len(rows) for rows in sets])
    labels = np.repeat(np.arange(len(sets)), counts)
    shares = 1.0 / (len(sets) * counts[labels])  # sum to 1, and to the same in each class
    # Two classes are fitted by the difference of their weights, half of which is the weights' own.
    strength = (2.0 if len(sets) == 2 else 1.0) / ridge
    fit = LogisticRegression(C=strength, tol=TOLERANCE, max_iter=MAX_STEPS)
    fit.fit(np.concatenate(sets).astype(np.float64), labels, sample_weight=shares)
    weights, bias = fit.coef_, fit.intercept_
    if len(sets) == 2:
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    return OpenSetClassifier(
        classes=tuple(known),
        weights=weights.astype(np.float32),
        bias=bias.astype(np.float32),
        fingerprint_digest=fingerprint_digest,
        training=Training(
            counts={name: len(rows) for name, rows in known.items()},
            reject_count=0 if reject is None else len(reject),
            ridge=ridge,
            provenance=provenance,
            lineup=version,
        ),
    )


def logistic_fit(fingerprint_digest: str, *, reject: Float32Array | None = None) -> Fit:
    """Return what fits the classifier of `lineup fit-open-set`."""

    def fit(supports: Mapping[str, Float32Array]) -> KnownProbabilities:
        classifier = classifier_from_fingerprints(
            supports, fingerprint_digest=fingerprint_digest, reject=reject
        )
        return lambda rows: classifier.probabilities(rows)[:, : len(classifier.classes)]

    return fit


def calibrated_fit(supports: Mapping[str, Float32Array]) -> KnownProbabilities:
    """Fit the scorer of the gallery on the support of every class, photographs as such."""
    names = [name for name in supports if name != REAL_NAME]
    sets = [
        _support_set(f"class-{index}", supports[name], SourceRole.CANDIDATE)
        for index, name in enumerate(names)
    ]
    if REAL_NAME in supports:
        sets.append(_support_set(REAL_NAME, supports[REAL_NAME], SourceRole.REAL))
    scorer = SourceScorer(Gallery("evaluation", {one.name: one for one in sets}))
    # Columns as in `supports`; the scorer sorts its candidates by name.
    keys = [REAL_NAME if name == REAL_NAME else f"class-{names.index(name)}" for name in supports]

    def probabilities(fingerprints: Float32Array) -> Float64Array:
        rows = np.empty((len(fingerprints), len(keys)))
        for row, fingerprint in enumerate(fingerprints):
            found = scorer.judgement(Images(fingerprint[None], np.ones(1, np.float32)))
            llr = dict(zip(scorer.names, found.llrs.tolist(), strict=True))
            verdict = verdict_from_evidence(scorer.names, [Evidence("fingerprint", {}, llr, 0.0)])
            rows[row] = [verdict.posterior[key] for key in keys]
        return rows

    return probabilities


def classes_from_gallery(gallery: Gallery) -> dict[str, Float32Array]:
    """Return the fingerprints per class: each candidate, and all photographs as the class `real`.

    Returns:
        Shape (N, D), float32, per class; candidates sorted by name, then `real` if there is one.
    """
    classes = {support.name: support.fingerprints for support in gallery.candidates}
    if gallery.reals:
        classes[REAL_NAME] = np.concatenate([support.fingerprints for support in gallery.reals])
    return classes


def holds_fingerprints(path: Path) -> bool:
    """Return whether a path is a gallery (folder or file) and not a folder of images.

    Raises:
        UsageError: There is nothing at the path.
    """
    if not path.exists():
        raise UsageError(
            f"{path} does not exist.",
            hint="Give a gallery, as a folder or as one file, or a folder of images.",
        )
    return path.is_file() or (path / MANIFEST).is_file()


def reject_from_gallery(path: Path, *, fingerprint_digest: str) -> Float32Array:
    """Return every fingerprint of a gallery (folder or file), shape (R, D), whatever its source.

    Raises:
        GalleryError: It cannot be read, or was made with another fingerprint bundle.
        ClassifierError: It is empty.
    """
    gallery = gallery_from_path(path)
    if gallery.fingerprint_digest != fingerprint_digest:
        raise fingerprint_mismatch(str(path), gallery.fingerprint_digest, fingerprint_digest)
    sets = [support.fingerprints for support in gallery.sources.values()]
    return _checked_reject(sets, path)


def shipped_reject(*, fingerprint_digest: str) -> Float32Array | None:
    """Return the shipped fingerprints of simulated generators' reconstructions, shape (R, D).

    None where they were made with another fingerprint bundle than the one in use.
    """
    path = shipped_reject_path()
    gallery = gallery_from_path(path)
    if gallery.fingerprint_digest != fingerprint_digest:
        return None
    return _checked_reject([one.fingerprints for one in gallery.sources.values()], path)


def reject_from_images(
    path: Path,
    extractor: TileFingerprinter,
    *,
    batch: int = DEFAULT_STREAM.group_images,
    on_file: Callable[[StreamedImage], None] = lambda _: None,
) -> Float32Array:
    """Return the fingerprint of every readable image below a folder, shape (R, D).

    Raises:
        ClassifierError: There is no readable image.
        BackendError: The model failed.
    """
    rows = []
    paths = find_images([path])
    for image, fingerprint in fingerprints_from_paths(paths, extractor, batch=batch):
        if fingerprint is not None:
            rows.append(fingerprint[None])
        on_file(image)
    return _checked_reject(rows, path)


def _checked_reject(sets: list[Float32Array], path: Path) -> Float32Array:
    if not sets:
        raise ClassifierError(
            f"{path} holds no fingerprint or readable image for the reject class",
            hint="Give reconstructions of photographs, as a gallery or a folder of images.",
        )
    return np.concatenate(sets)


def _support_set(name: str, rows: Float32Array, role: SourceRole) -> SupportSet:
    ids = tuple(f"{index:064x}" for index in range(len(rows)))
    return SupportSet(name, role, rows, ids)
