from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from lineup.errors import ParityError
from lineup_export import parity
from lineup_export.parity import (
    checked_parity,
    lowest_cosine,
    max_relative_error,
    outputs_from_file,
    worst_error,
)


def test_the_error_is_relative_to_the_largest_element() -> None:
    reference = np.array([0.0, 2.0, -4.0])

    assert max_relative_error(np.array([0.002, 2.0, -4.0]), reference) == pytest.approx(0.0005)
    assert max_relative_error(np.array([0.3]), np.array([0.2])) == pytest.approx(0.5)


@pytest.mark.parametrize("value", [[1.0, np.nan], [np.inf, 2.0], [1.0]])
def test_what_is_not_finite_or_of_another_shape_is_infinitely_wrong(value: list[float]) -> None:
    assert max_relative_error(np.array(value), np.array([1.0, 2.0])) == float("inf")


def test_a_reference_of_zeros_is_compared_in_absolute_terms() -> None:
    assert max_relative_error(np.array([0.0, 3e-5]), np.zeros(2)) == pytest.approx(3e-5)


def test_the_lowest_cosine_is_between_whole_outputs() -> None:
    reference = np.array([[3.0, 0.0], [0.0, 4.0]])
    turned = np.array([[0.0, 3.0], [0.0, 4.0]])

    assert lowest_cosine([reference], [2 * reference]) == pytest.approx(1)
    assert lowest_cosine([reference, turned], [reference, reference]) == pytest.approx(16 / 25)
    assert lowest_cosine([1e-3 * turned], [1e-3 * reference]) == pytest.approx(16 / 25)
    assert lowest_cosine([np.zeros(2)], [np.zeros(2)]) == 1
    assert lowest_cosine([np.zeros(2)], [np.array([0.0, 1.0])]) == 0


@pytest.fixture
def graph_path(tmp_path):
    """A graph that multiplies by weights beside it."""
    weights = numpy_helper.from_array(np.array([2.0, 3.0], np.float32), "w")
    value, total = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y")
    )
    node = helper.make_node("Mul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", [value], [total], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "g.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    return path


FEED = {"x": np.array([5.0, 7.0], np.float32)}


def test_a_graph_runs_with_the_weights_beside_it(graph_path) -> None:
    (found,) = outputs_from_file(graph_path, [FEED])

    assert found["y"].tolist() == [10.0, 21.0]


@pytest.mark.parametrize(("bytes_over", "is_large"), [(1, True), (0, False)])
def test_large_graphs_run_in_little_memory(graph_path, monkeypatch, bytes_over, is_large) -> None:
    size_bytes = sum(file.stat().st_size for file in graph_path.parent.iterdir())
    opened, returned = [], []
    session = onnxruntime.InferenceSession

    def opening(path, settings, **options):
        opened.append(settings.graph_optimization_level)
        return session(path, settings, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", opening)
    monkeypatch.setattr(parity, "keep_freed_memory", returned.append)
    monkeypatch.setattr(parity, "LARGE_BYTES", size_bytes - bytes_over)
    (found,) = outputs_from_file(graph_path, [FEED])

    assert found["y"].tolist() == [10.0, 21.0]
    unoptimised = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    assert (opened == [unoptimised], bool(returned)) == (is_large, is_large)


def test_the_worst_sample_is_recorded() -> None:
    references = [np.array([1.0, 0.0]), np.array([2.0, 0.0])]
    outputs = [np.array([1.0, 0.01]), np.array([2.0, 0.04])]

    found = checked_parity("g", outputs, references, reference="a sum", tolerance=0.1)

    assert found.value == pytest.approx(0.02)
    assert (found.samples, found.reference, found.tolerance) == (2, "a sum", 0.1)


def test_an_error_as_large_as_the_tolerance_is_allowed() -> None:
    found = checked_parity("g", [np.array([1.5])], [np.ones(1)], reference="one", tolerance=0.5)

    assert found.value == found.tolerance


def test_an_error_above_the_tolerance_is_refused() -> None:
    with pytest.raises(ParityError, match=r"is 0\.5, expected at most 0\.1"):
        checked_parity("g", [np.ones(2)], [np.full(2, 2.0)], reference="a sum", tolerance=0.1)


def test_every_output_needs_a_reference() -> None:
    for compare in (worst_error, lowest_cosine):
        with pytest.raises(ValueError, match="zip"):
            compare([np.ones(2), np.full(2, 7.0)], [np.ones(2)])
