from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lineup.bundles.manifest import Precision
from lineup_export.assembly import ExportOptions
from lineup_export.exporters import FAMILIES, Exporter, exporter_of
from lineup_export.graph import InputSpec
from lineup_export.optimum_route import config_from_registry
from lineup_export.public.exporter import bundle_from_model
from lineup_export.public.request import ExportRequest, model_from_request
from lineup_models.recipes.recipe import RecipeKind

pytestmark = pytest.mark.filterwarnings("ignore")
"""TorchScript is deprecated, and optimum warns of every constant it traces."""


@pytest.mark.parametrize("role", FAMILIES)
def test_optimums_registry_has_every_family(role: str) -> None:
    inputs = (InputSpec("states", torch.ones(2, 3), {0: "n"}),)

    config = config_from_registry(role, inputs, ("sums",))

    assert config.inputs == {"states": {0: "n"}}
    assert config.outputs == {"sums": {0: "n"}}


def test_what_optimum_cannot_export_is_left_to_torch() -> None:
    assert exporter_of("unet", Exporter.OPTIMUM) is Exporter.OPTIMUM
    assert exporter_of("unet", Exporter.AUTO) is Exporter.TORCH
    assert exporter_of("vae_decoder", Exporter.OPTIMUM) is Exporter.OPTIMUM
    assert exporter_of("vae_encoder", Exporter.OPTIMUM) is Exporter.TORCH


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "recipe", "precision"),
    [
        (RecipeKind.ENCODER, "clip-vit-b-32", Precision.FP32),
        (RecipeKind.CAPTIONER, "blip-base", Precision.FP16),
        (RecipeKind.GENERATOR, "lcm-dreamshaper-v7", Precision.FP32),
    ],
)
def test_optimum_exports_with_parity(
    kind: RecipeKind, recipe: str, precision: Precision, tmp_path: Path
) -> None:
    model = model_from_request(ExportRequest(kind, recipe, "random", tiny=True), precision)
    options = ExportOptions(precision=precision, exporter=Exporter.OPTIMUM)

    reports = bundle_from_model(model, tmp_path / "bundle", options).reports

    made = {report.role: report.exporter for report in reports}
    assert made == {role: exporter_of(role, Exporter.OPTIMUM).value for role in made}
    assert "optimum" in made.values()
