"""Closed-set and (T+1)-way classification of fingerprints, fitted in seconds.

A multinomial logistic regression over T known classes and, where reject fingerprints are given, one
more class for everything else.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lineup.classifier import OpenSetClassifier, Training, check_classes
from lineup.errors import ClassifierError
from lineup.gallery.gallery import check_fingerprints
from lineup.types import Float32Array
from lineup_lab.fitting.regression import fit_logistic

RIDGE = 0.003
"""Penalty on the squared weights. Fingerprints have length 1, so one value serves all of them."""


def classifier_from_fingerprints(
    known: Mapping[str, Float32Array],
    *,
    fingerprint_digest: str,
    reject: Float32Array | None = None,
    ridge: float = RIDGE,
    provenance: str = "",
    version: str = "",
) -> OpenSetClassifier:
    """Fit a classifier.

    Args:
        known: Fingerprints per class, shape (N, D), float32, rows L2-normalised.
        fingerprint_digest: Identity of the bundle that made them.
        reject: Fingerprints of what is none of the classes, shape (R, D).
        ridge: Penalty on the squared weights, above 0.
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
    labels = np.repeat(np.arange(len(sets)), [len(rows) for rows in sets])
    wide = np.concatenate(sets).astype(np.float64)  # (N, D)
    fit = fit_logistic(wide, labels, len(sets), ridge=ridge)
    return OpenSetClassifier(
        classes=tuple(known),
        weights=fit.weights.astype(np.float32),
        bias=fit.bias.astype(np.float32),
        fingerprint_digest=fingerprint_digest,
        training=Training(
            counts={name: len(rows) for name, rows in known.items()},
            reject_count=0 if reject is None else len(reject),
            ridge=ridge,
            provenance=provenance,
            lineup=version,
        ),
    )
