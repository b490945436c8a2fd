"""One component of a bundle: what becomes one graph, by which exporter, and what that measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from lineup.bundles.manifest import Parity, Precision
from lineup.machine import PeakMemory
from lineup_export.graph import InputSpec
from lineup_export.precision import LADDER, Islands

BLIP, BLIP_TASK = "blip", "image-to-text"


class Exporter(str, Enum):
    """What turns a module into a graph; the value is the word used on the command line."""

    TORCH = "torch"
    OPTIMUM = "optimum"


@dataclass(frozen=True, slots=True)
class Family:
    """Where optimum's registry has what it knows of a component."""

    model_type: str
    task: str
    library: str


FAMILIES: Mapping[str, Family] = {
    "text_encoder": Family("clip-text", "feature-extraction", "diffusers"),
    "text_encoder_2": Family("clip-text-with-projection", "feature-extraction", "diffusers"),
    "image_tower": Family("clip_vision_model", "feature-extraction", "transformers"),
    "image_tower_cut": Family("clip_vision_model", "feature-extraction", "transformers"),
    "text_decoder": Family(BLIP, BLIP_TASK, "transformers"),
    "unet": Family("unet-2d-condition", "semantic-segmentation", "diffusers"),
    "vae_decoder": Family("vae-decoder", "semantic-segmentation", "diffusers"),
}
"""Per role; encoders of images fail optimum's validation (axes without a name): torch's alone."""


def exporter_of(role: str, asked: Exporter) -> Exporter:
    """Return the exporter of a role: the one asked for where it can, else torch's."""
    return asked if role in FAMILIES else Exporter.TORCH


TOLERANCES = {Precision.FP32: 2e-4, Precision.FP16: 2e-2}
"""Largest error allowed where a component names none: max |difference| / max |reference|."""


@dataclass(frozen=True, slots=True)
class Component:
    """What becomes one graph.

    Attributes:
        role: Name of the graph in the bundle.
        module: Builds the module; its parameters are of the dtype given or wider.
        inputs: In the order of its `forward`; inputs and outputs are float32 or int64.
        outputs: Names, in order.
        samples: What parity is measured on: one tensor per input each.
        tolerances: Largest error per precision.
        ladder: Islands to try in half precision, from fast to safe.
    """

    role: str
    module: Callable[[torch.dtype], nn.Module]
    inputs: tuple[InputSpec, ...]
    outputs: tuple[str, ...]
    samples: tuple[tuple[Tensor, ...], ...]
    tolerances: tuple[tuple[Precision, float], ...] = tuple(TOLERANCES.items())
    ladder: tuple[Islands, ...] = LADDER


def with_batch(component: Component, images: int) -> Component:
    """Return a component that takes exactly so many images (prompts, sequences) at a time."""
    batched = [0 in item.free_axes for item in component.inputs]

    def cut(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
        return tuple(
            tensor[:1].expand(images, *tensor.shape[1:]).contiguous() if is_batched else tensor
            for tensor, is_batched in zip(tensors, batched, strict=True)
        )

    examples = cut(item.example for item in component.inputs)
    inputs = tuple(
        replace(
            item,
            example=example,
            free_axes={axis: name for axis, name in item.free_axes.items() if axis != 0},
        )
        for item, example in zip(component.inputs, examples, strict=True)
    )
    return replace(component, inputs=inputs, samples=tuple(map(cut, component.samples)))


@dataclass(frozen=True, slots=True)
class ComponentReport:
    """What an export of one component measured.

    Attributes:
        role: Name of the graph.
        parameters: Number of parameters.
        size_bytes: Of graph and weights.
        islands: What computes in single precision in a half-precision graph.
        parity: Of ONNX Runtime against torch in single precision.
        cosine: The lowest cosine between an output and its reference.
        export_seconds: Time of torch's exporter.
        export_peak: Memory while the module was built, run and exported; None where the system
            does not tell.
        parity_peak: Memory while ONNX Runtime ran the graph.
        exporter: "torch" or "optimum".
    """

    role: str
    parameters: int
    size_bytes: int
    islands: tuple[str, ...]
    parity: Parity
    cosine: float
    export_seconds: float
    export_peak: PeakMemory | None
    parity_peak: PeakMemory | None
    exporter: str = Exporter.TORCH.value

    def details(self) -> dict[str, Any]:
        """Return what a manifest records beside the parity."""
        return {
            "parameters": self.parameters,
            "fp32_islands": list(self.islands),
            "cosine": self.cosine,
            "exporter": self.exporter,
        }
