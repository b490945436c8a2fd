"""What an engine is built for: options, and the shapes of every input."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lineup.backends.graph_cache import Profile
from lineup.backends.tensorrt.api import Flavour
from lineup.bundles.manifest import Graph
from lineup.errors import UsageError

LATENT_AXES = frozenset({"rows", "columns"})
"""Free axes that follow from the size of a picture, not from how many there are."""


@dataclass(frozen=True, slots=True)
class Range:
    """Lengths of a free axis that an engine accepts.

    Attributes:
        minimum: Shortest.
        optimum: The length that kernels are chosen for.
        maximum: Longest.
    """

    minimum: int
    optimum: int
    maximum: int

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.optimum <= self.maximum:
            raise UsageError(
                f"Range {self.minimum}:{self.optimum}:{self.maximum} is not rising from 1.",
                hint="Write MIN:MAX or MIN:OPT:MAX, e.g. 1:4.",
            )


def range_from_text(text: str) -> Range:
    """Parse `N`, `MIN:MAX` (optimum: the maximum) or `MIN:OPT:MAX`.

    Raises:
        UsageError: The text is none of these, or is not rising.
    """
    parts = text.split(":")
    if not 1 <= len(parts) <= 3 or not all(part.isdecimal() for part in parts):
        raise UsageError(
            f"Batch {text!r} cannot be read.", hint="Write N, MIN:MAX or MIN:OPT:MAX, e.g. 1:4."
        )
    numbers = [int(part) for part in parts]
    return Range(numbers[0], numbers[-1] if len(parts) < 3 else numbers[1], numbers[-1])


def capability_from_text(text: str) -> tuple[int, int]:
    """Parse a compute capability, e.g. "8.6".

    Raises:
        UsageError: The text is not a pair of numbers.
    """
    match = re.fullmatch(r"(\d+)\.(\d)", text)
    if match is None:
        raise UsageError(
            f"Compute capability {text!r} cannot be read.",
            hint="Write it as NVIDIA does, e.g. 8.6 for an RTX 3090 or 8.9 for an RTX 4090.",
        )
    return int(match[1]), int(match[2])


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How engines are built.

    Attributes:
        flavour: The TensorRT product.
        compute_capability: Of the GPU that will run the engine; None takes the one present.
        batch: Lengths of the axes that count images, tiles, prompts or sequences; None takes what
            the bundle names, else one at a time.
        axes: Ranges of further free axes by name; they win over `batch`.
        workspace_mib: Most scratch memory of one layer; None leaves it to the builder.
        timing_cache: File of kernel timings, read before and written after; None keeps none.
        weight_streaming: Whether weights may stay in host memory and be streamed at run time.
        refittable: Whether the plan is stripped of weights, which are put in when it is loaded;
            bundles that differ in weights alone share such a plan.
        version_compatible: Whether later TensorRT releases may load it.
        hardware_compatible: Whether later GPU generations may load it.
    """

    flavour: Flavour
    compute_capability: tuple[int, int] | None = None
    batch: Range | None = None
    axes: Mapping[str, Range] = field(default_factory=dict)
    workspace_mib: int | None = None
    timing_cache: Path | None = None
    weight_streaming: bool = False
    refittable: bool = False
    version_compatible: bool = False
    hardware_compatible: bool = False


def profile_from_graph(graph: Graph, options: BuildOptions) -> Profile:
    """Return the shapes of every input of a graph.

    Args:
        graph: The graph's record in a manifest; free axes are named there.
        options: `batch` and `axes` give their ranges.

    Raises:
        UsageError: An axis that follows from the picture's size has no range in `options.axes`.
    """
    profile: Profile = {}
    for spec in graph.inputs:
        ranges = [_range_of_axis(length, options) for length in spec.shape]
        profile[spec.name] = (
            tuple(one.minimum for one in ranges),
            tuple(one.optimum for one in ranges),
            tuple(one.maximum for one in ranges),
        )
    return profile


def _range_of_axis(length: int | str, options: BuildOptions) -> Range:
    if isinstance(length, int):
        return Range(length, length, length)
    if length in options.axes:
        return options.axes[length]
    if length in LATENT_AXES:
        raise UsageError(
            f"The axis {length!r} is free and no range was given for it.",
            hint=f"Give one, e.g. --axis {length}=64 for pictures of 512 pixels.",
        )
    return options.batch or Range(1, 1, 1)
