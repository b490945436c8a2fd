from __future__ import annotations

import numpy as np
import pytest

from lineup.errors import UsageError
from lineup_lab.dataset import (
    LabelledSource,
    checked_support_count,
    split_of_source,
    support_from_text,
)

HALF = 0.5


@pytest.mark.parametrize(
    ("text", "images", "expected"),
    [
        ("0.5", 120, 60),
        ("0.5", 61, 31),  # half up
        ("0.5", 2, 1),
        ("0.01", 10, 1),  # never empty
        ("0.99", 10, 9),  # leaves a query
        ("100", 120, 100),
        ("1", 120, 1),
        ("1e-1", 120, 12),
    ],
)
def test_support_is_a_share_or_a_count(text, images, expected):
    assert checked_support_count("a", images, support_from_text(text)) == expected


@pytest.mark.parametrize("text", ["0", "0.0", "1.0", "1.5", "-1", "-0.5", "nan", "inf", "half", ""])
def test_any_other_support_is_refused_with_what_would_do(text):
    with pytest.raises(UsageError, match="neither a share nor a count") as caught:
        support_from_text(text)

    assert "between 0 and 1" in str(caught.value.hint)


def test_split_is_disjoint_and_complete(make_source):
    source = make_source("a", 31)

    split = split_of_source(source, HALF, 0)

    assert sorted([*split.support, *split.queries]) == list(range(31))
    assert len(split.support) == 16


def test_split_follows_content_and_seed_alone(make_source):
    source = make_source("a", 30)
    back_to_front = LabelledSource("renamed", source.ids[::-1], source.fingerprints[::-1])

    first = {source.ids[i] for i in split_of_source(source, HALF, 0).support}
    again = {back_to_front.ids[i] for i in split_of_source(back_to_front, HALF, 0).support}
    other_seed = {source.ids[i] for i in split_of_source(source, HALF, 1).support}

    assert first == again
    assert first != other_seed


def test_split_draws_every_image_equally_often(make_source):
    source = make_source("a", 10)

    in_support = np.zeros(10)
    for seed in range(400):
        in_support[split_of_source(source, HALF, seed).support] += 1

    # Binomial(400, 1/2) has sd 10: five of them on either side, false alarm below 1e-5.
    assert np.abs(in_support - 200).max() < 50


def test_count_that_leaves_no_query_names_the_source(make_source):
    with pytest.raises(UsageError, match="leaves no query: source 'small' has 5"):
        split_of_source(make_source("small", 5), 5, 0)
