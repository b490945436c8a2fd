"""A bundle's graph gets the weight policy of its size, unless the caller decides."""

import pytest

from lineup.backends import opening
from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt import (
    MAPPED_FROM_BYTES,
    RuntimeOptions,
    WeightPolicy,
    policy_from_size,
    session_options_from,
)
from lineup.backends.opening import runner_from_bundle
from lineup.bundles.store import BundleStore
from lineup.errors import BundleFormatError, DeviceUnavailableError
from lineup.fingerprint import DEFAULT_BUNDLE, FingerprintExtractor
from lineup.paths import home_dir
from lineup.runtime import Runtime

CPU = Device(DeviceKind.CPU)


@pytest.fixture
def bundle():
    return BundleStore(home_dir()).open("whitened-spectrum")


def test_large_weights_stay_in_their_file():
    assert policy_from_size(MAPPED_FROM_BYTES) is WeightPolicy.MAPPED
    assert policy_from_size(MAPPED_FROM_BYTES - 1) is WeightPolicy.OPTIMISED


def test_a_mapped_graph_is_run_as_it_was_exported():
    import onnxruntime as ort

    mapped = session_options_from(RuntimeOptions(weights=WeightPolicy.MAPPED), CPU)
    assert mapped.graph_optimization_level == ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    assert mapped.enable_cpu_mem_arena
    assert mapped.get_session_config_entry("session.use_env_allocators") == "1"
    optimised = session_options_from(RuntimeOptions(weights=WeightPolicy.OPTIMISED), CPU)
    assert optimised.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert optimised.enable_mem_pattern
    assert not optimised.enable_cpu_mem_arena


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(None, WeightPolicy.OPTIMISED), (WeightPolicy.MAPPED, WeightPolicy.MAPPED)],
)
def test_the_policy_follows_the_size_unless_given(bundle, monkeypatch, asked, expected):
    seen = []
    monkeypatch.setattr(
        opening, "runner_from_onnx", lambda path, device, options: seen.append(options)
    )
    runner_from_bundle(bundle, "fingerprint", CPU, RuntimeOptions(threads=3, weights=asked))
    assert seen == [RuntimeOptions(threads=3, weights=expected)]


@pytest.mark.parametrize("device", ["tensorrt-native", "tensorrt-rtx"])
def test_a_model_is_refused_a_device_that_is_not_there_in_words(monkeypatch, device):
    for module in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(DeviceUnavailableError, match="not usable here"):
        Runtime(device).open(FingerprintExtractor, DEFAULT_BUNDLE)


def test_a_graph_that_is_not_there_is_named(bundle):
    with pytest.raises(BundleFormatError, match="unet"):
        runner_from_bundle(bundle, "unet", CPU)
