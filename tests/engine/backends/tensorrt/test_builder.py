import signal
from pathlib import Path

import pytest

from lineup.backends.tensorrt.api import Flavour
from lineup.backends.tensorrt.builder import BuildOptions, build_engine
from lineup.errors import BackendError, UsageError

PROFILE = {"x": ((1, 3), (2, 3), (4, 3))}
ONNX = Path("g.onnx")


def test_the_profile_and_the_limits_reach_the_builder(api):
    options = BuildOptions(Flavour.TENSORRT, workspace_mib=512, weight_streaming=True)
    plan = build_engine(api, ONNX, PROFILE, options)
    config = api.module.state.config
    assert plan is not None
    assert config.profiles == [PROFILE]
    assert config.pools == {"WORKSPACE": 512 * 2**20}
    assert config.flags == {"WEIGHT_STREAMING"}  # and no TF32
    assert api.module.state.network_flags == 1 << 1  # strongly typed


def test_a_node_that_cannot_be_parsed_is_named(api):
    api.module.state.parse_errors = ["no importer for DFT", "second"]
    with pytest.raises(BackendError, match=r"cannot parse it: node 0: no importer for DFT"):
        build_engine(api, ONNX, PROFILE, BuildOptions(Flavour.TENSORRT))


def test_a_failed_build_says_what_tensorrt_said(api):
    api.module.state.build_error = "out of memory"
    with pytest.raises(BackendError, match="cannot build it: out of memory"):
        build_engine(api, ONNX, PROFILE, BuildOptions(Flavour.TENSORRT))


def test_another_gpu_can_be_built_for_with_rtx_alone(api, rtx_api):
    for capability, flavour in (((8, 6), Flavour.RTX), ((8, 9), Flavour.RTX)):
        options = BuildOptions(flavour, compute_capability=capability)
        build_engine(rtx_api, ONNX, PROFILE, options)
        config = rtx_api.module.state.config
        assert config.num_compute_capabilities == 1
        assert config.capability.name == "SM{}{}".format(*capability)
    with pytest.raises(UsageError, match=r"8\.7") as caught:
        build_engine(rtx_api, ONNX, PROFILE, BuildOptions(Flavour.RTX, compute_capability=(8, 7)))
    assert caught.value.hint == "It knows 8.6, 8.9."
    with pytest.raises(UsageError, match="the GPU that is present"):
        build_engine(api, ONNX, PROFILE, BuildOptions(Flavour.TENSORRT, compute_capability=(8, 6)))


def test_a_flag_that_the_release_lacks_is_refused(api):
    options = BuildOptions(Flavour.TENSORRT, version_compatible=True)
    with pytest.raises(UsageError, match=r"has no BuilderFlag.VERSION_COMPATIBLE"):
        build_engine(api, ONNX, PROFILE, options)


def test_timings_are_read_and_written(api, rtx_api, tmp_path):
    cache = tmp_path / "timings"
    build_engine(api, ONNX, PROFILE, BuildOptions(Flavour.TENSORRT, timing_cache=cache))
    assert cache.read_bytes() == b"timings"
    cache.write_bytes(b"of another GPU")
    with pytest.raises(UsageError, match="another GPU"):
        build_engine(api, ONNX, PROFILE, BuildOptions(Flavour.TENSORRT, timing_cache=cache))
    with pytest.raises(UsageError, match="keeps no timing cache"):
        build_engine(rtx_api, ONNX, PROFILE, BuildOptions(Flavour.RTX, timing_cache=cache))


def test_ctrl_c_stops_the_build_at_its_next_step(api):
    steps = []

    def interrupt() -> None:
        steps.append(1)
        signal.raise_signal(signal.SIGINT)

    api.module.state.on_step = interrupt
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        build_engine(api, ONNX, PROFILE, BuildOptions(Flavour.TENSORRT))
    assert len(steps) == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_progress_is_told(api):
    told = []
    options = BuildOptions(Flavour.TENSORRT)
    build_engine(api, ONNX, PROFILE, options, lambda *state: told.append(state))
    name = "Building engine"
    assert told == [(name, 0, 2), (name, 1, 2), (name, 2, 2)]
