import numpy as np
import pytest

from lineup.errors import UsageError
from lineup.models.generator import SynthesisOptions

IMAGE = np.zeros((8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"width_px": -8}, "width_px is -8"),
        ({"batch": 0}, "batch is 0"),
        ({"guidance": -1.0}, "guidance is -1"),
        ({"guidance": float("nan")}, "guidance is nan"),
        ({"strength": 0.5}, "only a strength"),
        ({"init_image": IMAGE}, "only an image"),
        ({"init_image": IMAGE, "strength": 0.0}, "strength is 0"),
        ({"init_image": IMAGE, "strength": 1.1}, "strength is 1.1"),
    ],
)
def test_impossible_options_are_named(given, message):
    with pytest.raises(UsageError, match=message):
        SynthesisOptions(**given)


def test_an_image_and_a_strength_go_together():
    assert SynthesisOptions(init_image=IMAGE, strength=1.0).strength == 1
