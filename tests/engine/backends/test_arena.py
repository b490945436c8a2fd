"""What one large graph computed in is there for the next."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt import RuntimeOptions, WeightPolicy, runner_from_onnx

PROGRAM = """
import json, resource, sys
from pathlib import Path
import numpy as np
from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt import RuntimeOptions, WeightPolicy, runner_from_onnx

feeds = {"x": np.ones(8 * 2**20, np.float32)}
faults = []
for _ in range(2):
    options = RuntimeOptions(threads=1, weights=WeightPolicy(sys.argv[2]))
    with runner_from_onnx(Path(sys.argv[1]), Device(DeviceKind.CPU), options) as runner:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        runner.run(feeds)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(json.dumps(faults))
"""
PAGES_OF_RESULT = 64 * 2**20 // 4096
"""What the graph below computes before it sums up."""


@pytest.fixture
def doubling(tmp_path):
    """y = the sum of x, twice over: x [n] becomes 2 n numbers, then one."""
    nodes = [
        helper.make_node("Concat", ["x", "x"], ["twice"], axis=0),
        helper.make_node("ReduceSum", ["twice"], ["y"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "doubling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
    )
    path = tmp_path / "doubling.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def faults(path, policy):
    command = [sys.executable, "-c", PROGRAM, str(path), policy.value]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="pages are counted as Linux does")
def test_a_large_graph_computes_where_another_one_has(doubling):
    first, second = faults(doubling, WeightPolicy.MAPPED)
    assert first >= PAGES_OF_RESULT
    assert second < PAGES_OF_RESULT / 10


@pytest.mark.skipif(sys.platform != "linux", reason="pages are counted as Linux does")
def test_a_small_graph_gives_its_memory_back(doubling):
    _, second = faults(doubling, WeightPolicy.OPTIMISED)
    assert second >= PAGES_OF_RESULT


def test_results_are_the_same_either_way(doubling):
    feeds = {"x": np.arange(1000, dtype=np.float32)}
    answers = []
    for policy in WeightPolicy:
        options = RuntimeOptions(weights=policy)
        with runner_from_onnx(doubling, Device(DeviceKind.CPU), options) as runner:
            answers.append(float(runner.run(feeds)["y"]))
    assert answers == [999 * 1000.0] * len(WeightPolicy)
