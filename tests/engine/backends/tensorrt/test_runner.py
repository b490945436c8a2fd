import numpy as np
import pytest

from lineup.backends.tensorrt.cuda import CudaArray, DevicePool, SharedScratch
from lineup.backends.tensorrt.runner import TensorRtRunner
from lineup.errors import BackendError


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "engine.plan"
    path.write_bytes(b"plan")
    return path


@pytest.fixture
def runner(api, plan, graph, cuda):
    with TensorRtRunner(api, plan, graph, cuda, SharedScratch(cuda), DevicePool(cuda)) as runner:
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
        TensorRtRunner(api, plan, graph, cuda, scratch, DevicePool(cuda)) as first,
        TensorRtRunner(api, plan, graph, cuda, scratch, DevicePool(cuda)) as second,
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


def test_a_batch_beyond_the_profile_is_an_error_that_says_how_to_widen_it(runner):
    with pytest.raises(BackendError, match=r"\[5, 3\] is outside") as caught:
        runner.run(feeds(5))
    assert "--batch" in caught.value.hint


def test_a_foreign_plan_is_an_error_in_tensorrts_words(api, tmp_path, graph, cuda):
    path = tmp_path / "engine.plan"
    path.write_bytes(b"something else")
    with pytest.raises(BackendError, match="magic tag does not match") as caught:
        TensorRtRunner(api, path, graph, cuda, SharedScratch(cuda), DevicePool(cuda))
    assert "lineup build" in caught.value.hint


def test_a_plan_of_another_graph_is_refused(api, plan, graph, cuda):
    api.module.state.engine.get_tensor_name = lambda index: ("a", "b")[index]
    with pytest.raises(BackendError, match="its inputs and outputs are"):
        TensorRtRunner(api, plan, graph, cuda, SharedScratch(cuda), DevicePool(cuda))


def test_streamed_weights_get_a_budget(api, plan, graph, cuda):
    engine = api.module.state.engine
    engine.streamable_weights_size = 10**9
    engine.get_weight_streaming_automatic_budget = lambda: 64 * 2**20
    TensorRtRunner(api, plan, graph, cuda, SharedScratch(cuda), DevicePool(cuda)).close()
    assert engine.weight_streaming_budget_v2 == 64 * 2**20


def test_a_closed_engine_is_not_run(runner):
    runner.close()
    with pytest.raises(BackendError, match="closed"):
        runner.run(feeds(1))


def test_what_stays_on_the_gpu_feeds_the_next_run(runner, cuda, monkeypatch):
    given = feeds(2)
    kept = runner.run_resident(given, ("y",))["y"]
    uploads = []
    monkeypatch.setattr(cuda, "upload", lambda *_: uploads.append(1))

    outputs = runner.run({"x": kept})

    assert isinstance(kept, CudaArray)
    assert kept.shape == (2, 3)
    assert uploads == []
    np.testing.assert_array_equal(outputs["y"], 4 * given["x"])
    np.testing.assert_array_equal(kept.to_host(), 2 * given["x"])  # nothing wrote over it


def test_a_chain_on_the_gpu_takes_turns_with_two_buffers(runner, cuda):
    value = feeds(2)["x"]
    expected = value * 2**6
    for _ in range(6):
        value = runner.run_resident({"x": value}, ("y",))["y"]

    np.testing.assert_array_equal(value.to_host(), expected)
    assert cuda.log.count("allocate 24") == 3  # the first input, and two that take turns


def test_rows_are_taken_on_the_gpu(runner):
    given = feeds(3)
    kept = runner.run_resident(given, ("y",))["y"]

    taken = kept.take_rows(np.array([2, 0, 0]))

    np.testing.assert_array_equal(taken.to_host(), (2 * given["x"])[[2, 0, 0]])


def test_buffers_of_another_size_are_freed_before_more_is_asked_for(runner, cuda):
    first = runner.run_resident(feeds(1), ("y",))["y"]
    address = first.address
    del first

    kept = runner.run_resident(feeds(4), ("y",))["y"]

    assert address not in cuda.memory
    assert kept.address in cuda.memory
