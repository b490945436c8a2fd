from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from lineup.bundles.manifest import Precision
from lineup_export.component import FAMILIES, Exporter, ExportOptions, exporter_of
from lineup_export.external import WeightFiles
from lineup_export.graph import InputSpec
from lineup_export.optimum_route import config_from_registry
from lineup_export.public.request import ExportRequest, bundle_from_model, model_from_request
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
    assert exporter_of("unet", Exporter.TORCH) is Exporter.TORCH
    assert exporter_of("vae_decoder", Exporter.OPTIMUM) is Exporter.OPTIMUM
    assert exporter_of("vae_encoder", Exporter.OPTIMUM) is Exporter.TORCH


def test_what_an_exporter_put_into_its_own_file_comes_back(tmp_path: Path) -> None:
    """Above 2 GB optimum writes constants of nodes to a file as well, which is not kept."""
    added = numpy_helper.from_array(np.arange(400, dtype=np.float32), "added")
    scale = numpy_helper.from_array(np.full(400, 2, np.float32), "scale")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [400]) for name in ("x", "y")]
    nodes = [
        helper.make_node("Constant", [], ["c"], value=added),
        helper.make_node("Mul", ["x", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "c"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], [scale])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save_model(
        model,
        tmp_path / "made.onnx",
        save_as_external_data=True,
        location="made.data",
        convert_attribute=True,
    )
    loaded = onnx_ir.load(tmp_path / "made.onnx")

    WeightFiles(tmp_path).stream(loaded)
    (tmp_path / "made.data").unlink()
    onnx.save_model(onnx_ir.to_proto(loaded), tmp_path / "graph.onnx")

    session = onnxruntime.InferenceSession(tmp_path / "graph.onnx")
    (found,) = session.run(None, {"x": np.ones(400, np.float32)})
    np.testing.assert_array_equal(found, 2 + np.arange(400, dtype=np.float32))


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
