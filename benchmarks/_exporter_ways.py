"""What is compared by exporters.py: ways from a module to a graph, and what is counted in one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lineup.bundles.manifest import Precision
from lineup_export.component import Exporter

OPTIMIZER_TYPES = {
    "text_encoder": "clip",
    "image_tower": "clip",
    "image_tower_cut": "clip",
    "unet": "unet",
    "vae_decoder": "vae",
    "vae_encoder": "vae",
    "vision_encoder": "vit",
    "text_decoder": "bert",
}
"""What ONNX Runtime's optimizer calls the architecture of a component; BLIP's decoder is a BERT."""

FUSED = {
    "attention": {"Attention", "MultiHeadAttention", "DecoderMaskedMultiHeadAttention"},
    "normalisation": {
        "EmbedLayerNormalization",
        "GroupNorm",
        "GroupNormalization",
        "LayerNormalization",
        "SkipGroupNorm",
        "SkipLayerNormalization",
    },
    "activation": {"BiasGelu", "BiasSplitGelu", "FastGelu", "Gelu", "QuickGelu"},
}
"""Operators that stand for a whole attention, normalisation or activation."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way from a module to a graph.

    Attributes:
        label: Its name in the table.
        exporter: Torch's or optimum's.
        is_fused: Whether long attention becomes ONNX Runtime's own operator, as in every graph
            that `lineup export --precision fp32` writes.
        precision: Of weights and computation.
        roles: The components it is measured for; all if empty.
    """

    label: str
    exporter: Exporter
    is_fused: bool = False
    precision: Precision = Precision.FP32
    roles: tuple[str, ...] = ()

    @property
    def is_half(self) -> bool:
        """Tell whether the graph computes in half precision, which is for GPUs."""
        return self.precision is Precision.FP16


WAYS: Mapping[str, Way] = {
    "torch": Way("torch", Exporter.TORCH),
    "fused": Way("torch, fused for CPUs", Exporter.TORCH, is_fused=True),
    "optimum": Way("optimum", Exporter.OPTIMUM),
    "optimum-fp16": Way(
        "optimum, fp16",
        Exporter.OPTIMUM,
        precision=Precision.FP16,
        roles=("text_encoder", "unet"),
    ),
}


@dataclass(frozen=True, slots=True)
class Task:
    """One component by one way."""

    recipe: str
    component: str
    way: str

    @property
    def names(self) -> dict[str, str]:
        """The fields of a result that say of what it is."""
        return {"recipe": self.recipe, "component": self.component, "way": self.way}


def fused_counts(operators: Mapping[str, int]) -> dict[str, int]:
    """Return how many operators of each kind of `FUSED` a graph has."""
    return {kind: sum(operators.get(one, 0) for one in names) for kind, names in FUSED.items()}
