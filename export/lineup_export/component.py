"""One component of a bundle: what becomes one graph, how, and what that measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from lineup.bundles.manifest import BatchRange, Parity, Precision
from lineup.machine import PeakMemory
from lineup_export.compression import COMPRESSED_ROLES
from lineup_export.graph import InputSpec
from lineup_export.precision import LADDER, Island, Islands

ModuleBuilder = Callable[[torch.dtype], nn.Module]


class Exporter(str, Enum):
    """What turns a module into a graph; the value is the word used on the command line."""

    TORCH = "torch"
    OPTIMUM = "optimum"


BLIP = "blip", "image-to-text"

FAMILIES: Mapping[str, tuple[str, str, str]] = {
    "text_encoder": ("clip-text", "feature-extraction", "diffusers"),
    "text_encoder_2": ("clip-text-with-projection", "feature-extraction", "diffusers"),
    "image_tower": ("clip_vision_model", "feature-extraction", "transformers"),
    "image_tower_cut": ("clip_vision_model", "feature-extraction", "transformers"),
    "text_decoder": (*BLIP, "transformers"),
    "unet": ("unet-2d-condition", "semantic-segmentation", "diffusers"),
    "vae_decoder": ("vae-decoder", "semantic-segmentation", "diffusers"),
}
"""Model type, task and library under which optimum's registry has what it knows of a role; encoders
of images fail optimum's validation (axes without a name): torch's alone."""


def exporter_of(role: str, asked: Exporter) -> Exporter:
    """Return the exporter of a role: the one asked for where it can, else torch's."""
    return asked if role in FAMILIES else Exporter.TORCH


TOLERANCES = {Precision.FP32: 2e-4, Precision.FP16: 2e-2, Precision.INT8: 5e-2}
"""Largest error allowed: max |difference| / max |reference|. Random weights of SD-Turbo's size need
it at int8 (3.4e-2); trained ones of the pocket lineup stay below 6e-3."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How components become a bundle.

    Attributes:
        precision: Of weights and computation.
        opset: ONNX operator set.
        overwrite: Replace a bundle that is there.
        batch: Images that every graph takes at a time: a range of one number fixes it, another is
            left free and recorded, None is left free.
        exporter: What turns modules into graphs, where it can.
    """

    precision: Precision = Precision.FP32
    opset: int = 18
    overwrite: bool = False
    batch: BatchRange | None = None
    exporter: Exporter = Exporter.TORCH

    @property
    def is_half(self) -> bool:
        """Tell whether graphs compute in half precision, which is for GPUs."""
        return self.precision is Precision.FP16

    def compresses(self, role: str) -> bool:
        """Tell whether a component's weights are stored in eight bits."""
        return self.precision is Precision.INT8 and role in COMPRESSED_ROLES


@dataclass(frozen=True, slots=True)
class Component:
    """What becomes one graph.

    Attributes:
        role: Name of the graph in the bundle.
        module: Builds the module; its parameters are of the dtype given or wider.
        inputs: In the order of its `forward`; inputs and outputs are float32 or int64.
        outputs: Names, in order.
        samples: What parity is measured on: one tensor per input each, in order.
        ladder: Islands to try in half precision, from fast to safe.
    """

    role: str
    module: ModuleBuilder
    inputs: tuple[InputSpec, ...]
    outputs: tuple[str, ...]
    samples: tuple[Mapping[str, Tensor], ...]
    ladder: tuple[Islands, ...] = LADDER

    def built(self, precision: Precision) -> nn.Module:
        """Return the module, frozen, its parameters in the format of a precision or wider."""
        dtype = torch.float16 if precision is Precision.FP16 else torch.float32
        return self.module(dtype).eval().requires_grad_(False)


def with_batch(component: Component, images: int) -> Component:
    """Return a component that takes exactly so many images (prompts, sequences) at a time."""
    batched = {item.name for item in component.inputs if 0 in item.free_axes}

    def cut(name: str, tensor: Tensor) -> Tensor:
        if name not in batched:
            return tensor
        return tensor[:1].expand(images, *tensor.shape[1:]).contiguous()

    inputs = tuple(
        replace(
            item,
            example=cut(item.name, item.example),
            free_axes={axis: name for axis, name in item.free_axes.items() if axis != 0},
        )
        for item in component.inputs
    )
    samples = tuple({name: cut(name, one[name]) for name in one} for one in component.samples)
    return replace(component, inputs=inputs, samples=samples)


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
    islands: tuple[Island, ...]
    parity: Parity
    cosine: float
    export_seconds: float
    export_peak: PeakMemory | None
    parity_peak: PeakMemory | None
    exporter: str

    def details(self) -> dict[str, Any]:
        """Return what a manifest records beside the parity."""
        return {
            "parameters": self.parameters,
            "fp32_islands": [island.value for island in self.islands],
            "cosine": self.cosine,
            "exporter": self.exporter,
        }
