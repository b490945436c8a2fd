"""Exporters side by side: what is asked for, what is counted, what the table says, one real run."""

from __future__ import annotations

import argparse
import json

import pytest


@pytest.fixture
def exporters():
    import exporters

    return exporters


@pytest.fixture
def worker():
    import _exporter_worker

    return _exporter_worker


def measured(**figures):
    return {
        "recipe": "sd-turbo",
        "component": "unet",
        "way": "optimum",
        "export_s": 12.34,
        "peak_mib": 5095.4,
        "nodes": 4326,
        "engine_ms": 6500.0,
        "default_ms": 4800.0,
        "max_relative_error": 3.4e-6,
        "tolerance": 2e-4,
        "passes": True,
        "optimized_nodes": 3000,
        "fused": {"attention": 32, "normalisation": 109, "activation": 0},
        **figures,
    }


def test_components_are_named_by_recipe_or_one_by_one(exporters):
    tasks = exporters.tasks_from(["sd-turbo/unet", "blip-base"], ["torch", "optimum-fp16"])

    assert [(one.component, one.way) for one in tasks] == [
        ("unet", "torch"),
        ("unet", "optimum-fp16"),
        ("vision_encoder", "torch"),
        ("text_decoder", "torch"),
    ]
    with pytest.raises(SystemExit, match="sd-turbo/unet"):
        exporters.tasks_from(["sd-turbo/vision_encoder"], [])


def test_every_component_has_a_type_for_the_optimizer(exporters, worker):
    from onnxruntime.transformers.optimizer import MODEL_TYPES

    roles = {task.component for task in exporters.tasks_from([], [])}

    assert roles == set(worker.OPTIMIZER_TYPES)
    assert set(worker.OPTIMIZER_TYPES.values()) <= set(MODEL_TYPES)


def test_operators_are_counted_by_kind(worker):
    operators = {"MatMul": 9, "MultiHeadAttention": 2, "GroupNorm": 3, "LayerNormalization": 4}

    counts = worker.fused_counts(operators)

    assert counts == {"attention": 2, "normalisation": 7, "activation": 0}


def test_a_row_of_the_table_has_every_figure(exporters):
    row = exporters.table_lines([measured()])[2]

    assert row == (
        "| sd-turbo | unet | optimum | 12.3 | 5095 | 4326 | 6500.0 | 4800.0 | 3.4e-06, passes "
        "| 3000 | 32 | 109 | 0 |"
    )


@pytest.mark.parametrize(
    ("figures", "cell"),
    [
        ({"passes": False, "max_relative_error": 0.5}, "| 0.5, fails, 0.0002 is allowed |"),
        ({"failures": {"fused": "KeyError"}, "fused": {}}, "| failed: KeyError |"),
    ],
)
def test_the_table_tells_failures_and_keeps_its_columns(exporters, figures, cell):
    header, _, row = exporters.table_lines([measured(**figures)])

    assert cell in row
    assert row.replace("\\|", "").count("|") == header.count("|")


@pytest.mark.parametrize("stage", ["export", "process"])
def test_without_a_graph_the_table_has_the_reason_alone(exporters, stage):
    names = {key: measured()[key] for key in exporters.KEY}

    header, _, row = exporters.table_lines([{**names, "failures": {stage: "ValueError: a | b"}}])

    assert row.startswith("| sd-turbo | unet | optimum | failed: ValueError: a \\| b |")
    assert row.replace("\\|", "").count("|") == header.count("|")


def test_an_error_is_one_line_without_folders(worker):
    error = ValueError("\n no /tmp/scratch-1/graph.onnx there\nsecond line")

    assert worker.first_line(error) == "ValueError: no graph.onnx there"
    assert worker.first_line(KeyError()) == "KeyError"


def test_native_inputs_have_the_native_size(worker):
    from lineup.bundles.manifest import TensorSpec

    specs = [
        TensorSpec("latents", "float32", ("images", 4, "rows", "columns")),
        TensorSpec("tokens", "int64", ("images", 77)),
    ]

    feeds = worker.native_feeds(specs, {"rows": 64, "columns": 48})

    assert feeds["latents"].shape == (1, 4, 64, 48)
    assert feeds["latents"].std() > 0.5
    assert feeds["tokens"].shape == (1, 77)
    assert not feeds["tokens"].any()


def measured_in(folder, worker, task):
    path = folder / "result.json"
    worker.measure(task, argparse.Namespace(threads=1, tiny=True, work=folder, result=path))
    return json.loads(path.read_text())


@pytest.mark.filterwarnings("ignore")
def test_a_tiny_component_is_measured_by_optimum(worker, tmp_path):
    task = worker.Task("clip-vit-b-32", "image_tower_cut", "optimum")

    result = measured_in(tmp_path, worker, task)

    assert "failures" not in result
    assert result["passes"]
    assert result["fused"]["normalisation"] > 0
    assert result["optimized_nodes"] < result["nodes"]
    assert min(result[key] for key in ("export_s", "engine_ms", "default_ms", "peak_mib")) > 0


@pytest.mark.filterwarnings("ignore")
def test_an_export_that_fails_is_a_result(worker, tmp_path):
    task = worker.Task("blip-base", "vision_encoder", "optimum")

    result = measured_in(tmp_path, worker, task)

    assert result["failures"]["export"].startswith("DynamicAxisNameError: ")
