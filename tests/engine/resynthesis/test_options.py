import pytest

from lineup.errors import UsageError
from lineup.options import (
    Aggregate,
    Distance,
    Mode,
    ResynthesisOptions,
    options_from_mode,
)

DEFAULTS = ResynthesisOptions(gamma=8, seed=3)


def test_seeds_follow_each_other():
    assert ResynthesisOptions(gamma=3, seed=5).seeds == (5, 6, 7)


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"gamma": 0}, "gamma"), ({"seed": -1}, "seed")],
)
def test_numbers_out_of_range_are_named(settings, named):
    with pytest.raises(UsageError, match=named):
        ResynthesisOptions(**settings)


def test_a_layer_is_a_number_or_final():
    with pytest.raises(UsageError, match="last"):
        ResynthesisOptions(encoder_layer="last")


def test_the_default_mode_takes_the_lineups_settings_and_the_users():
    options = options_from_mode(Mode.DEFAULT, DEFAULTS, {"seed": 1, "distance": Distance.SSIM})

    assert (options.gamma, options.seed, options.distance) == (8, 1, Distance.SSIM)


def test_paper_a_makes_one_resynthesis_and_compares_final_embeddings():
    options = options_from_mode(Mode.RESYNTHESIS, DEFAULTS, {"distance": Distance.CORRELATION})

    assert options.gamma == 1
    assert options.encoder_layer == "final"
    assert options.distance is Distance.CORRELATION
    assert options.seed == 3


def test_paper_b_averages_cosines_of_final_embeddings():
    options = options_from_mode(Mode.REGENERATION, DEFAULTS, {})

    assert options.gamma == 8
    assert options.encoder_layer == "final"
    assert (options.distance, options.aggregate) == (Distance.COSINE, Aggregate.MEAN)


@pytest.mark.parametrize(
    ("mode", "changes", "named"),
    [
        (Mode.RESYNTHESIS, {"gamma": 4}, "gamma 1, not 4"),
        (Mode.RESYNTHESIS, {"distance": Distance.SSIM}, "ssim"),
        (Mode.REGENERATION, {"aggregate": Aggregate.MAX}, "aggregate mean, not max"),
        (Mode.REGENERATION, {"encoder_layer": 3}, "encoder_layer final, not 3"),
        (Mode.REGENERATION, {"distance": Distance.MANHATTAN}, "manhattan"),
    ],
)
def test_what_a_paper_does_not_do_is_refused(mode, changes, named):
    with pytest.raises(UsageError, match=named):
        options_from_mode(mode, DEFAULTS, changes)
