from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from lineup.bundles.manifest import Precision
from lineup_export import component_export
from lineup_export.assembly import ExportedBundle
from lineup_export.component import Component, ExportOptions
from lineup_export.external import WeightFiles
from lineup_export.graph import OnnxGraph
from lineup_export.public.request import ExportRequest, bundle_from_model, model_from_request
from lineup_models.recipes.read import open_recipe

ExportTiny = Callable[..., ExportedBundle]

FAMILIES = (
    "clip-vit-b-32",
    "blip-base",
    "vit-gpt2",
    "sd-turbo",
    "lcm-dreamshaper-v7",
    "sdxs-512",
    "bk-sdm-tiny",
    "sdxl-turbo",
    "ssd-1b",
)
"""One recipe of every family of architectures; `test_families` shows that none is missing."""


@pytest.fixture(scope="session")
def families() -> tuple[str, ...]:
    """Recipes that together have every kind of layer of all recipes."""
    return FAMILIES


@pytest.fixture(scope="session", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """A recipe of each family."""
    name: str = request.param
    return name


def identity_of_module(module: nn.Module) -> str:
    """Return a hash of weights and of every attribute down to the last layer.

    What prints with an address equals no other, and is exported anew.
    """
    digest = hashlib.sha256()
    for name, part in module.named_modules():
        kept = {
            # Attention processors print as objects do, and have no state.
            key: (type(one), vars(one)) if type(one).__repr__ is object.__repr__ else one
            for key, one in vars(part).items()
            if key not in {"_parameters", "_buffers"}
        }
        tensors = {**part._parameters, **part._buffers}
        kinds = [(key, None if one is None else one.dtype) for key, one in tensors.items()]
        kept["_modules"] = list(part._modules)
        digest.update(repr((name, type(part), sorted(kept.items()), kinds)).encode())
        for tensor in filter(lambda one: one is not None, tensors.values()):
            digest.update(tensor.detach().contiguous().view(-1).numpy().tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="session", autouse=True)
def equal_modules_are_traced_once() -> Iterator[None]:
    """Spare siblings the tracing of an autoencoder or text encoder that they share.

    Each bundle still proves the parity of all its graphs.
    """
    trace = component_export.graph_of_component
    made: dict[tuple[object, ...], OnnxGraph] = {}

    def traced_once(
        module: nn.Module,
        component: Component,
        options: ExportOptions,
        files: WeightFiles,
        **more: Any,
    ) -> OnnxGraph:
        signature = [(one.name, one.example.shape, one.free_axes) for one in component.inputs]
        key = (
            identity_of_module(module),
            repr(signature),
            component.outputs,
            options,
            *more.items(),
        )
        if key not in made:
            graph = trace(module, component, options, files, **more)
            held = {
                place: one if isinstance(one, bytes) else one.read_bytes()
                for place, one in graph.weights.items()
            }
            made[key] = replace(graph, weights=held)
            return graph
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(component_export, "graph_of_component", traced_once)
        yield


@pytest.fixture(scope="session")
def export_tiny(tmp_path_factory: pytest.TempPathFactory) -> ExportTiny:
    """Export a recipe at tiny size with random weights, each once."""
    folder = tmp_path_factory.mktemp("tiny")
    made: dict[tuple[str, Precision], ExportedBundle] = {}

    def export(name: str, precision: Precision = Precision.FP32) -> ExportedBundle:
        if (name, precision) not in made:
            request = ExportRequest(open_recipe(name).kind, name, "random", tiny=True)
            made[name, precision] = bundle_from_model(
                model_from_request(request, precision),
                Path(folder / f"{name}-{precision.value}"),
                ExportOptions(precision=precision),
            )
        return made[name, precision]

    return export
