import numpy as np
import pytest

from lineup.backends.tensorrt.runner import EngineOptions, TensorRtRunner
from lineup.backends.tensorrt.scratch import SharedScratch
from lineup.errors import BackendError


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "engine.plan"
    path.write_bytes(b"plan")
    return path


@pytest.fixture
def runner(api, plan, graph, cuda):
    with TensorRtRunner(api, plan, graph, cuda, SharedScratch(cuda)) as runner:
        yield runner


def feeds(rows: int):
    return {"x": np.arange(3 * rows, dtype=np.float32).reshape(rows, 3)}


def test_outputs_come_back_by_name(runner):
    for rows in (2, 4, 1):
        given = feeds(rows)
        np.testing.assert_array_equal(runner.run(given)["y"], 2 * given["x"])


def test_the_context_has_no_memory_of_its_own_and_borrows_the_scratch(runner, api):
    runner.run(feeds(2))
    engine = api.module.state.engine
    assert engine.strategy.name == "USER_MANAGED"
    assert engine.context.scratch[1] == 200


def test_engines_share_the_scratch_of_the_neediest(api, plan, graph, cuda):
    scratch = SharedScratch(cuda)
    with (
        TensorRtRunner(api, plan, graph, cuda, scratch) as first,
        TensorRtRunner(api, plan, graph, cuda, scratch) as second,
    ):
        first.run(feeds(4))
        second.run(feeds(1))
        assert scratch.size_bytes == 400
        assert cuda.log.count("allocate 400") == 1
        assert "allocate 100" not in cuda.log
    scratch.close()
    assert not cuda.memory  # everything was given back


def test_repeated_shapes_are_recorded_once_and_replayed(runner, cuda):
    for value in range(5):
        given = {"x": np.full((2, 3), value, np.float32)}
        np.testing.assert_array_equal(runner.run(given)["y"], 2 * given["x"])
    assert cuda.log.count("capture") == 1
    assert cuda.log.count("launch") == 3


def test_a_graph_is_not_replayed_after_its_buffers_moved(runner, cuda):
    for _ in range(3):
        runner.run(feeds(2))
    launches = cuda.log.count("launch")
    runner.run(feeds(4))  # larger buffers, elsewhere
    given = feeds(2)
    np.testing.assert_array_equal(runner.run(given)["y"], 2 * given["x"])
    assert cuda.log.count("launch") == launches


def test_graphs_can_be_turned_off(api, plan, graph, cuda):
    options = EngineOptions(cuda_graphs=False)
    with TensorRtRunner(api, plan, graph, cuda, SharedScratch(cuda), options=options) as runner:
        for _ in range(5):
            runner.run(feeds(1))
    assert "capture" not in cuda.log


def test_a_batch_beyond_the_profile_is_an_error_that_says_how_to_widen_it(runner):
    with pytest.raises(BackendError, match=r"\[5, 3\] is outside") as caught:
        runner.run(feeds(5))
    assert "--batch" in caught.value.hint


def test_a_foreign_plan_is_an_error_in_tensorrts_words(api, tmp_path, graph, cuda):
    path = tmp_path / "engine.plan"
    path.write_bytes(b"something else")
    with pytest.raises(BackendError, match="magic tag does not match") as caught:
        TensorRtRunner(api, path, graph, cuda, SharedScratch(cuda))
    assert "lineup build" in caught.value.hint


def test_a_plan_of_another_graph_is_refused(api, plan, graph, cuda):
    api.module.state.engine.get_tensor_name = lambda index: ("a", "b")[index]
    with pytest.raises(BackendError, match="its inputs and outputs are"):
        TensorRtRunner(api, plan, graph, cuda, SharedScratch(cuda))


def test_streamed_weights_get_a_budget(api, plan, graph, cuda):
    engine = api.module.state.engine
    engine.streamable_weights_size = 10**9
    options = EngineOptions(weight_budget_mib=64)
    TensorRtRunner(api, plan, graph, cuda, SharedScratch(cuda), options=options).close()
    assert engine.weight_streaming_budget_v2 == 64 * 2**20


def test_a_closed_engine_is_not_run(runner):
    runner.close()
    with pytest.raises(BackendError, match="closed"):
        runner.run(feeds(1))
