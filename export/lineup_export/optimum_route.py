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

from lineup.bundles.manifest import Precision
from lineup_export.component import BLIP, FAMILIES, Component, ExportOptions
from lineup_export.external import WeightFiles
from lineup_export.graph import InputSpec, OnnxGraph, graph_from_model

VALIDATION_TOLERANCES = {Precision.FP32: 1e-3, Precision.FP16: 2e-2, Precision.INT8: 1e-3}
"""Largest absolute difference that optimum's own validation lets pass; ours follows, also after
weights are compressed."""


def graph_from_optimum(
    module: nn.Module, component: Component, options: ExportOptions, files: WeightFiles
) -> OnnxGraph:
    """Export a component through optimum, validate it there, and bring it under our rules.

    Its role is one of `FAMILIES`, and `module` is in the precision wanted.

    Raises:
        ValueError: Optimum's validation failed.
        RuntimeError: The graph breaks a rule that keeps every backend open.
    """
    named = _Named(module, [item.name for item in component.inputs]).eval()
    config = config_from_registry(component.role, component.inputs, component.outputs)
    path = files.folder / "optimum.onnx"
    _, names = export_pytorch(named, config, options.opset, path)
    atol = VALIDATION_TOLERANCES[options.precision]
    validate_model_outputs(config, named, path, names, atol=atol, use_subprocess=False)
    graph = graph_from_model(
        onnx_ir.load(path),
        component.inputs,
        opset=options.opset,
        mixed_precision=options.is_half,
        compress=options.compresses(component.role),
        files=files,
    )
    for left_over in files.folder.glob("optimum.onnx*"):
        left_over.unlink()
    return graph


def config_from_registry(
    role: str, inputs: tuple[InputSpec, ...], outputs: tuple[str, ...]
) -> OnnxConfig:
    """Return what optimum's registry has for a role, with inputs and outputs of ours.

    The free axes of an output are those of the first input, of which latents have most.
    """
    register = TasksManager.create_register("onnx", overwrite_existing=True)
    nothing = {"inputs": property(lambda _: {}), "outputs": property(lambda _: {})}
    blip = type(
        "BlipOnnxConfig", (OnnxConfig,), {"NORMALIZED_CONFIG_CLASS": NormalizedConfig, **nothing}
    )
    register(*BLIP)(blip)
    model_type, task, library = FAMILIES[role]
    known = TasksManager.get_exporter_config_constructor(
        "onnx", model_type=model_type, task=task, library_name=library
    ).func
    ends = {
        "inputs": {item.name: dict(item.free_axes) for item in inputs},
        "outputs": {name: dict(inputs[0].free_axes) for name in outputs},
        "generate_dummy_inputs": lambda *_, **__: {
            item.name: item.example.clone() for item in inputs
        },
    }
    return type(known.__name__, (known,), ends)(SimpleNamespace(), task=task)


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
