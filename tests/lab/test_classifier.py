from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_softmax

from lineup.errors import ClassifierError, GalleryError
from lineup_lab.fit_classifier import classifier_from_fingerprints


@pytest.fixture
def known(rows):
    return {name: rows(30, i, seed=i) for i, name in enumerate(["a", "b", "real"])}


def known_probabilities(classifier, rows):
    return classifier.probabilities(rows)[:, : len(classifier.classes)]


def test_known_images_get_their_class(known, rows):
    classifier = classifier_from_fingerprints(known, fingerprint_digest="d1")

    for column in range(3):
        probabilities = classifier.probabilities(rows(20, column, seed=100 + column))
        assert probabilities.shape == (20, 3)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)
        assert (probabilities.argmax(axis=1) == column).all()
    assert classifier.classes == ("a", "b", "real")
    assert not classifier.has_reject
    assert classifier.training.counts == {"a": 30, "b": 30, "real": 30}
    assert classifier.training.reject_count == 0


def test_reject_class_takes_what_is_like_its_images(known, rows):
    reject = np.concatenate([rows(20, 5, seed=7), rows(20, 6, seed=8)])
    stranger = rows(30, 6, seed=9)

    plain = classifier_from_fingerprints(known, fingerprint_digest="d1")
    wary = classifier_from_fingerprints(known, fingerprint_digest="d1", reject=reject)

    assert wary.has_reject
    assert wary.training.reject_count == 40
    assert (wary.probabilities(stranger).argmax(axis=1) == 3).all()
    assert known_probabilities(wary, stranger).shape == (30, 3)
    assert known_probabilities(wary, stranger).max() < known_probabilities(plain, stranger).max()
    own = known_probabilities(wary, known["a"])
    assert (own.argmax(axis=1) == 0).all()
    assert own.max(axis=1).min() > known_probabilities(wary, stranger).max()


def test_probabilities_do_not_saturate(known):
    classifier = classifier_from_fingerprints(known, fingerprint_digest="d1", ridge=1e-6)

    best = known_probabilities(classifier, known["a"]).max(axis=1)

    assert len(np.unique(best)) == 30


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda known: {"a": known["a"]}, "at least 2 different classes"),
        (lambda known: {**known, "unknown": known["a"]}, "cannot name a known class"),
        (lambda known: {**known, "b\n": known["a"]}, "cannot name a known class"),
        (lambda known: {**known, "c": known["a"][:, :5]}, "norm 1|different dimensions"),
    ],
)
def test_impossible_classes_are_refused(known, change, message):
    with pytest.raises((ClassifierError, GalleryError), match=message):
        classifier_from_fingerprints(change(known), fingerprint_digest="d1")


def test_different_dimensions_are_refused(known):
    with pytest.raises(ClassifierError, match=r"different dimensions: \[3, 24\]"):
        classifier_from_fingerprints(
            known, fingerprint_digest="d1", reject=np.eye(3, dtype=np.float32)
        )


def test_fingerprints_of_another_dimension_are_refused(known):
    classifier = classifier_from_fingerprints(known, fingerprint_digest="d1")

    with pytest.raises(ClassifierError, match=r"of the shape \(N, 24\), got \(3, 3\)"):
        classifier.probabilities(np.eye(3, dtype=np.float32))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("weights", np.zeros((5, 24), np.float32), r"\(3 or 4, dimension\)"),
        ("weights", np.zeros((3, 24)), "float32 weights"),
        ("weights", np.full((3, 24), np.nan, np.float32), "not finite"),
        ("bias", np.zeros(4, np.float32), r"bias of the shape \(3,\)"),
        ("classes", ("a", "a", "b"), "different classes"),
    ],
)
def test_parts_that_do_not_fit_are_refused(known, field, value, message):
    classifier = classifier_from_fingerprints(known, fingerprint_digest="d1")

    with pytest.raises(ClassifierError, match=message):
        replace(classifier, **{field: value})


@pytest.mark.parametrize("count", [2, 3])
def test_the_fit_is_the_minimum_of_the_balanced_loss(known, rows, count):
    known = {name: known[name][: 6 + 9 * i] for i, name in enumerate([*known][:count])}
    fit = classifier_from_fingerprints(known, fingerprint_digest="d1", ridge=0.01)
    images = np.concatenate([*known.values()]).astype(float)
    labels = np.repeat(np.arange(count), [len(one) for one in known.values()])

    def loss(weights, bias):
        picked = log_softmax(images @ weights.T + bias, axis=1)[np.arange(len(labels)), labels]
        by_class = [picked[labels == k].mean() for k in range(count)]
        return 0.01 / 2 * np.square(weights).sum() - np.mean(by_class)

    weights, bias = fit.weights.astype(float), fit.bias.astype(float)
    assert bias.sum() == pytest.approx(0, abs=1e-4)
    rng = np.random.default_rng(1)
    for _ in range(20):
        nudge = 1e-2 * rng.normal(size=weights.shape)
        assert loss(weights + nudge, bias + nudge[:, 0]) > loss(weights, bias)


def test_biases_of_balanced_classes_do_not_follow_their_sizes(rows):
    known = {"many": rows(1000, noise=1.0, seed=1), "few": rows(1000, noise=1.0, seed=2)[:10]}

    fit = classifier_from_fingerprints(known, fingerprint_digest="d1", ridge=1.0)

    assert np.abs(fit.bias).max() < 0.1
