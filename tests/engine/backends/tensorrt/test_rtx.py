"""NVIDIA's own parser and builder, without a GPU; skipped where tensorrt-rtx is not installed."""

import pytest
from click.testing import CliRunner

from lineup.backends.building import build_with_tensorrt, engine_of_graph
from lineup.backends.graph_cache import GraphCache
from lineup.backends.tensorrt.api import Flavour, api_from_flavour
from lineup.backends.tensorrt.builder import BuildOptions, Range
from lineup.backends.tensorrt.cuda import DevicePool, SharedScratch
from lineup.backends.tensorrt.runner import TensorRtRunner
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
    cache = GraphCache(tmp_path)
    (first,) = build_with_tensorrt(bundle, api, options(), cache)
    (second,) = build_with_tensorrt(bundle, api, options(), cache)
    (other,) = build_with_tensorrt(bundle, api, options(compute_capability=(8, 9)), cache)
    assert (first.was_cached, second.was_cached, other.was_cached) == (False, True, False)
    assert first.compiled.size_bytes > 2_000_000
    assert second.compiled.path == first.compiled.path != other.compiled.path
    assert engine_of_graph(cache, bundle, "fingerprint", api, "8.6") == first.compiled
    assert engine_of_graph(cache, bundle, "fingerprint", api, "7.5") is None


def test_without_a_gpu_loading_fails_in_words(bundle, tmp_path, cuda):
    from lineup.backends.device import Device, DeviceKind
    from lineup.backends.opening import probe

    if probe(Device(DeviceKind.CUDA)) is None:
        pytest.skip("there is a GPU")
    api = api_from_flavour(Flavour.RTX)
    (built,) = build_with_tensorrt(bundle, api, options(), GraphCache(tmp_path))
    graph = bundle.manifest.graphs["fingerprint"]
    with pytest.raises(BackendError, match=r"cannot load it: .*CUDA"):
        TensorRtRunner(api, built.compiled.path, graph, cuda, SharedScratch(cuda), DevicePool(cuda))


def test_the_command_says_what_it_built():
    arguments = ["whitened-spectrum", "--backend", "tensorrt-rtx", "--compute-capability", "8.6"]
    for how in ("built in", "cached"):
        result = CliRunner().invoke(build, arguments)
        assert result.exit_code == 0, result.output
        assert f"fingerprint: {how}" in result.stdout
