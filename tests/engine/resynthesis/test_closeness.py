import numpy as np
import pytest

from lineup.resynthesis.closeness import (
    Aggregate,
    Distance,
    aggregated,
    feature_closeness,
    pixel_closeness,
    softmax,
    ssim,
)


def unit_rows(seed, count, size=16):
    rows = np.random.default_rng(seed).normal(size=(count, size))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def picture(seed, height=40, width=48):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def ssim_by_definition(first, second):
    """Equation 13 of Wang et al. 2004, window by window in float64."""
    luma = np.array([0.299, 0.587, 0.114])
    x, y = first.astype(np.float64) @ luma, second.astype(np.float64) @ luma
    offsets = np.arange(11) - 5
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(line, line) / np.outer(line, line).sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for row in range(x.shape[0] - 10):
        for column in range(x.shape[1] - 10):
            a, b = x[row : row + 11, column : column + 11], y[row : row + 11, column : column + 11]
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
            cov = (window * (a - mean_a) * (b - mean_b)).sum()
            values.append(
                (2 * mean_a * mean_b + c1)
                * (2 * cov + c2)
                / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
            )
    return np.mean(values)


@pytest.mark.parametrize(
    ("distance", "definition"),
    [
        (Distance.EUCLIDEAN, lambda q, r: -np.sqrt(((q - r) ** 2).sum())),
        (Distance.MANHATTAN, lambda q, r: -np.abs(q - r).sum()),
        (Distance.COSINE, lambda q, r: (q @ r) / np.linalg.norm(q) / np.linalg.norm(r)),
        (Distance.CORRELATION, lambda q, r: np.corrcoef(q, r)[0, 1]),
    ],
)
def test_features_are_compared_by_the_definition(distance, definition):
    query, features = unit_rows(0, 1)[0], unit_rows(1, 5)

    closeness = feature_closeness(query, features, distance)

    expected = [definition(query.astype(float), row.astype(float)) for row in features]
    assert closeness == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("distance", [one for one in Distance if one.needs_features])
def test_the_query_itself_is_closest(distance):
    rows = unit_rows(2, 6)

    closeness = feature_closeness(rows[3], rows, distance)

    assert int(np.argmax(closeness)) == 3


def test_euclidean_and_cosine_rank_unit_vectors_alike():
    query, features = unit_rows(3, 1)[0], unit_rows(4, 20)

    euclidean = feature_closeness(query, features, Distance.EUCLIDEAN)
    cosine = feature_closeness(query, features, Distance.COSINE)

    assert np.argsort(euclidean).tolist() == np.argsort(cosine).tolist()


def test_a_constant_feature_correlates_with_nothing():
    flat = np.full((1, 4), 0.5, np.float32)

    assert feature_closeness(unit_rows(0, 1, 4)[0], flat, Distance.CORRELATION) == 0


def test_structural_similarity_is_that_of_its_paper():
    first = picture(0)
    second = np.clip(first.astype(int) + picture(1) // 4, 0, 255).astype(np.uint8)

    assert ssim(first, second) == pytest.approx(ssim_by_definition(first, second), abs=1e-9)
    assert ssim(first, first) == pytest.approx(1)


def test_structural_similarity_needs_one_size():
    with pytest.raises(ValueError, match="one size"):
        ssim(picture(0), picture(0, 20, 20))
    with pytest.raises(ValueError, match="11 px"):
        ssim(picture(0, 10, 40), picture(0, 10, 40))


def test_a_query_is_resized_to_the_picture():
    small = np.full((20, 20, 3), 90, np.uint8)
    large = np.full((64, 48, 3), 90, np.uint8)

    assert pixel_closeness(large, [small, large]) == pytest.approx([1, 1])


@pytest.mark.parametrize(("aggregate", "expected"), [(Aggregate.MAX, 4), (Aggregate.MEAN, 2.5)])
def test_several_closenesses_become_one_score(aggregate, expected):
    assert aggregated(np.array([1.0, 4.0, 2.0, 3.0]), aggregate) == expected


def test_softmax_of_large_scores_is_finite():
    assert softmax([1000.0, 1000.0 - np.log(3)]) == pytest.approx([0.75, 0.25])
