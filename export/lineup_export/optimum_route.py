"""Components through optimum's exporter: its task registry, its patches, its validation.

Optimum exports with TorchScript. What it knows of a family (how its modules have to be patched)
comes from its registry, under the family's name; BLIP, which it does not know, is registered with
it here. Inputs, outputs and samples are those of our components.
"""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import onnx_ir
from optimum.exporters.onnx import model_configs  # noqa: F401 - fills the registry
from optimum.exporters.onnx.base import OnnxConfig
from optimum.exporters.onnx.convert import export_pytorch, validate_model_outputs
from optimum.exporters.tasks import TasksManager
from optimum.utils import NormalizedConfig
from torch import Tensor, nn

from lineup_export.component import BLIP, BLIP_TASK, FAMILIES
from lineup_export.external import WeightFiles
from lineup_export.graph import InputSpec, OnnxGraph, graph_from_model

VALIDATION_TOLERANCES = {False: 1e-3, True: 2e-2}
"""Largest absolute difference that optimum's own validation lets pass, in single precision and in
half; ours follows."""


def graph_from_optimum(
    role: str,
    module: nn.Module,
    inputs: tuple[InputSpec, ...],
    outputs: tuple[str, ...],
    *,
    opset: int,
    mixed_precision: bool,
    files: WeightFiles,
) -> OnnxGraph:
    """Export a component through optimum, validate it there, and bring it under our rules.

    Args:
        role: One of `FAMILIES`.
        module: Takes the inputs in order.
        inputs: Names, examples and free axes.
        outputs: Names, in order.
        opset: ONNX operator set.
        mixed_precision: See `graph_from_module`.
        files: Keep the weights.

    Raises:
        ValueError: Optimum's validation failed.
        RuntimeError: The graph breaks a rule that keeps every backend open.
    """
    named = _Named(module, [item.name for item in inputs]).eval()
    config = config_from_registry(role, inputs, outputs)
    path = files.folder / "optimum.onnx"
    _, names = export_pytorch(named, config, opset, path)
    atol = VALIDATION_TOLERANCES[mixed_precision]
    validate_model_outputs(config, named, path, names, atol=atol, use_subprocess=False)
    graph = graph_from_model(
        onnx_ir.load(path),
        inputs,
        opset=opset,
        mixed_precision=mixed_precision,
        files=files,
    )
    for left_over in files.folder.glob("optimum.onnx*"):
        left_over.unlink()
    return graph


def config_from_registry(
    role: str, inputs: tuple[InputSpec, ...], outputs: tuple[str, ...]
) -> OnnxConfig:
    """Return what optimum's registry has for a role, with inputs and outputs of ours."""
    _register_blip()
    family = FAMILIES[role]
    known = TasksManager.get_exporter_config_constructor(
        "onnx", model_type=family.model_type, task=family.task, library_name=family.library
    ).func
    config = type(known.__name__, (_OurEnds, known), {})(SimpleNamespace(), task=family.task)
    config.our_inputs, config.our_outputs = inputs, outputs
    return config


def _register_blip() -> None:
    """Make BLIP known to optimum's registry."""
    register = TasksManager.create_register("onnx", overwrite_existing=True)
    fields = {
        "NORMALIZED_CONFIG_CLASS": NormalizedConfig,
        "inputs": property(lambda _: {}),
        "outputs": property(lambda _: {}),
    }
    register(BLIP, BLIP_TASK)(type("BlipOnnxConfig", (OnnxConfig,), fields))


class _OurEnds:
    """Gives a config of optimum the inputs and outputs of a component.

    Attributes:
        our_inputs: Names, examples and free axes.
        our_outputs: Names, in order.
    """

    our_inputs: tuple[InputSpec, ...]
    our_outputs: tuple[str, ...]

    @property
    def inputs(self) -> dict[str, dict[int, str]]:
        """Return free axes per input."""
        return {item.name: dict(item.free_axes) for item in self.our_inputs}

    @property
    def outputs(self) -> dict[str, dict[int, str]]:
        """Return free axes per output: those of the first input, of which latents have most."""
        return {name: dict(self.our_inputs[0].free_axes) for name in self.our_outputs}

    def generate_dummy_inputs(self, framework: str = "pt", **_: Any) -> dict[str, Tensor]:
        """Return the example of every input."""
        return {item.name: item.example.clone() for item in self.our_inputs}


class _Named(nn.Module):
    """A module whose parameters of `forward` are called as its inputs are, as optimum needs it."""

    def __init__(self, module: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.inner = module
        self.config = SimpleNamespace(return_dict=True)

        def forward(*given: Tensor, **named: Tensor) -> Any:
            return module(*given, *(named[name] for name in names if name in named))

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        signature = inspect.Signature([inspect.Parameter(name, kind) for name in names])
        forward.__signature__ = signature  # type: ignore[attr-defined]
        self.forward = forward
