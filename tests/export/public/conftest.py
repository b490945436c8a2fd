from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lineup.bundles.manifest import Precision
from lineup_export.assembly import ExportedBundle
from lineup_export.component import ExportOptions
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
