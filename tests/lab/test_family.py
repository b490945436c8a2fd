import numpy as np
import pytest

from lineup.calibration.calibration import FamilyRule
from lineup.fusion import inseparable_members
from lineup_lab.fit_rules import NEVER, families_from_names, fit_family

CANDIDATES = ("a", "b", "c")


def posteriors(shares, *, mass=0.8):
    """Posteriors of a, b, c, unknown, real with the given share of a in the family a, b."""
    rows = [[mass * s, mass * (1 - s), 0.05, 0.1, 0.05] for s in shares]
    return np.array(rows)


def test_only_what_two_candidates_share_is_a_family():
    names = {"a": "vae-1", "b": "vae-1", "c": "vae-2"}

    assert families_from_names(names) == {"vae-1": ("a", "b")}


def test_the_rule_names_a_member_only_where_it_was_right():
    # Below a share of 0.8 the best member is right half the time, above it always.
    shares = np.concatenate([np.linspace(0.55, 0.78, 40), np.linspace(0.82, 0.99, 40)])
    truth = np.concatenate([np.arange(40) % 2, np.zeros(40, int)])

    rule = fit_family(("a", "b"), CANDIDATES, posteriors(shares), truth, 0.9)

    assert rule.queries == 80
    assert rule.accuracy == pytest.approx(0.75)
    assert 0.78 <= rule.share <= 0.83


def test_members_that_are_alike_are_never_told_apart():
    rng = np.random.default_rng(0)
    shares = rng.uniform(0.5, 1.0, 200)

    rule = fit_family(("a", "b"), CANDIDATES, posteriors(shares), rng.integers(0, 2, 200), 0.9)

    assert rule.share == NEVER


def test_members_that_were_always_told_apart_need_no_more_than_the_level():
    shares = np.linspace(0.97, 0.99, 30)

    rule = fit_family(("a", "b"), CANDIDATES, posteriors(shares), np.zeros(30, int), 0.9)

    assert rule.share == 0.9


def test_few_queries_leave_the_rule_at_the_level_and_indecisive_ones_do_not_count():
    few = fit_family(("a", "b"), CANDIDATES, posteriors([0.6] * 5), np.zeros(5, int), 0.9)
    faint = posteriors([0.6] * 50, mass=0.1)
    faint[:, 3] = 0.8

    none = fit_family(("a", "b"), CANDIDATES, faint, np.zeros(50, int), 0.9)

    assert (few.share, few.queries, few.accuracy) == (0.9, 5, 1.0)
    assert none.queries == 0
    assert none.accuracy is None


def test_the_group_is_the_answer_below_the_share():
    rule = FamilyRule(("a", "b"), share=0.8, queries=50, accuracy=0.9)

    assert inseparable_members({"a": 0.3, "b": 0.5}, ("b", "a"), rule.share) == ("b", "a")
    assert inseparable_members({"a": 0.1, "b": 0.7}, ("b", "a"), rule.share) == ()
    assert inseparable_members({"c": 0.9}, ("c",), 1.0) == ()
