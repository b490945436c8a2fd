from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from lineup.bundles.manifest import Precision
from lineup_export import component_export
from lineup_export.assembly import ExportedBundle, ExportOptions
from lineup_export.component import Component
from lineup_export.graph import OnnxGraph
from lineup_export.public.exporter import bundle_from_model
from lineup_export.public.request import ExportRequest, model_from_request
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


class GraphsMadeOnce:
    """Stands for `component_export._graph`: a module that several recipes have is traced once.

    Tracing is nearly all of an export; every recipe's own module is still compared with the graph.
    """

    def __init__(self) -> None:
        self._make = component_export._graph
        self._graphs: dict[str, OnnxGraph] = {}

    def __call__(self, module: nn.Module, component: Component, *how: Any, **named: Any) -> Any:
        key = self._key(module, component, named)
        if key not in self._graphs:
            made = self._make(module, component, *how, **named)
            weights = {
                location: content if isinstance(content, bytes) else content.read_bytes()
                for location, content in made.weights.items()
            }
            self._graphs[key] = replace(made, weights=weights)
        return self._graphs[key]

    @staticmethod
    def _key(module: nn.Module, component: Component, named: dict[str, Any]) -> str:
        """Return a hash of layers, weights, islands and inputs."""
        settings = {k: v for k, v in vars(module).items() if isinstance(v, bool | tuple)}
        shapes = [(one.name, one.example.shape, one.free_axes) for one in component.inputs]
        digest = hashlib.sha256(repr((module, settings, shapes, named)).encode())
        for name, value in module.state_dict().items():
            digest.update(name.encode() + value.numpy().tobytes())
        return digest.hexdigest()


@pytest.fixture(scope="session")
def export_tiny(tmp_path_factory: pytest.TempPathFactory) -> ExportTiny:
    """Export a recipe at tiny size with random weights, each once."""
    folder = tmp_path_factory.mktemp("tiny")
    graphs = GraphsMadeOnce()
    made: dict[tuple[str, Precision], ExportedBundle] = {}

    def export(name: str, precision: Precision = Precision.FP32) -> ExportedBundle:
        if (name, precision) not in made:
            request = ExportRequest(open_recipe(name).kind, name, "random", tiny=True)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(component_export, "_graph", graphs)
                made[name, precision] = bundle_from_model(
                    model_from_request(request, precision),
                    Path(folder / f"{name}-{precision.value}"),
                    ExportOptions(precision=precision),
                )
        return made[name, precision]

    return export
