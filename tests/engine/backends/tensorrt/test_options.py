import dataclasses

import pytest

from lineup.backends.tensorrt.api import Flavour
from lineup.backends.tensorrt.builder import (
    BuildOptions,
    Range,
    capability_from_text,
    profile_from_graph,
    range_from_text,
)
from lineup.bundles.manifest import TensorSpec
from lineup.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4", Range(4, 4, 4)), ("1:4", Range(1, 4, 4)), ("1:2:4", Range(1, 2, 4))],
)
def test_range_from_text(text, expected):
    assert range_from_text(text) == expected


@pytest.mark.parametrize("text", ["", "x", "1:2:3:4", "0:4", "4:1", "-1"])
def test_a_range_that_is_none_is_refused(text):
    with pytest.raises(UsageError):
        range_from_text(text)


def test_capability_from_text():
    assert capability_from_text("8.6") == (8, 6)
    assert capability_from_text("12.0") == (12, 0)
    for text in ("86", "8", "8.66", "x.y"):
        with pytest.raises(UsageError, match="Compute capability"):
            capability_from_text(text)


def test_counting_axes_take_the_batch_and_fixed_ones_stay(graph):
    options = BuildOptions(Flavour.RTX, batch=Range(1, 2, 4))
    assert profile_from_graph(graph, options) == {"x": ((1, 3), (2, 3), (4, 3))}


def test_an_axis_that_follows_from_the_size_needs_its_own_range(graph):
    latents = TensorSpec("latents", "float32", ("images", 4, "rows", "columns"))
    graph = dataclasses.replace(graph, inputs=(latents,))
    with pytest.raises(UsageError, match="'rows' is free"):
        profile_from_graph(graph, BuildOptions(Flavour.RTX))
    axes = {"rows": Range(64, 64, 64), "columns": Range(32, 64, 96)}
    profile = profile_from_graph(graph, BuildOptions(Flavour.RTX, axes=axes))
    assert profile["latents"] == ((1, 4, 64, 32), (1, 4, 64, 64), (1, 4, 64, 96))
