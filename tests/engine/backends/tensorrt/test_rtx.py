"""NVIDIA's own parser and builder, without a GPU; skipped where tensorrt-rtx is not installed."""

import pytest
from click.testing import CliRunner

from lineup.backends.tensorrt.api import Flavour, api_from_flavour
from lineup.backends.tensorrt.arrays import DevicePool
from lineup.backends.tensorrt.build import build_bundle
from lineup.backends.tensorrt.engines import EngineCache
from lineup.backends.tensorrt.options import BuildOptions, Range
from lineup.backends.tensorrt.runner import TensorRtRunner
from lineup.backends.tensorrt.scratch import SharedScratch
from lineup.bundles.store import BundleStore
from lineup.cli.build import build
from lineup.errors import BackendError
from lineup.paths import home_dir

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")


@pytest.fixture
def bundle():
    return BundleStore(home_dir()).open("whitened-spectrum")


def options(**changes):
    given = {"compute_capability": (8, 6), "batch": Range(1, 1, 4), **changes}
    return BuildOptions(Flavour.RTX, **given)


def test_the_shipped_fingerprint_is_built_once_and_then_found(bundle, tmp_path):
    api = api_from_flavour(Flavour.RTX)
    cache = EngineCache(tmp_path)
    (first,) = build_bundle(bundle, api, options(), cache)
    (second,) = build_bundle(bundle, api, options(), cache)
    (other,) = build_bundle(bundle, api, options(compute_capability=(8, 9)), cache)
    assert (first.was_cached, second.was_cached, other.was_cached) == (False, True, False)
    assert first.engine.size_bytes > 2_000_000
    assert second.engine.path == first.engine.path != other.engine.path
    assert cache.for_graph(bundle, "fingerprint", api, "8.6") == first.engine
    assert cache.for_graph(bundle, "fingerprint", api, "7.5") is None


def test_without_a_gpu_loading_fails_in_words(bundle, tmp_path, cuda):
    from lineup.backends.device import Device, DeviceKind
    from lineup.backends.opening import probe

    if probe(Device(DeviceKind.CUDA)).usable:
        pytest.skip("there is a GPU")
    api = api_from_flavour(Flavour.RTX)
    (built,) = build_bundle(bundle, api, options(), EngineCache(tmp_path))
    graph = bundle.manifest.graphs["fingerprint"]
    with pytest.raises(BackendError, match=r"cannot load it: .*CUDA"):
        TensorRtRunner(api, built.engine.path, graph, cuda, SharedScratch(cuda), DevicePool(cuda))


def test_the_command_says_what_it_built():
    arguments = ["whitened-spectrum", "--backend", "tensorrt-rtx", "--compute-capability", "8.6"]
    for how in ("built in", "cached"):
        result = CliRunner().invoke(build, arguments)
        assert result.exit_code == 0, result.output
        assert f"fingerprint: {how}" in result.stdout
