"""Graphs optimised ahead of time for the CPU: used for what they were made for, and never else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner

from lineup import machine
from lineup.backends import building, opening
from lineup.backends.building import WEIGHTS_NAME, build_for_cpu, cpu_key
from lineup.backends.device import Device, DeviceKind
from lineup.backends.graph_cache import CompiledGraph, GraphCache, graph_cache
from lineup.backends.onnxrt import RuntimeOptions, WeightPolicy
from lineup.backends.opening import runner_from_bundle
from lineup.bundles.bundle import Bundle
from lineup.bundles.store import BundleStore
from lineup.cli.main import cli
from lineup.errors import BackendError
from lineup.paths import home_dir

CPU = Device(DeviceKind.CPU)
ROLE = "fingerprint"
MAPPED = RuntimeOptions(threads=1, weights=WeightPolicy.MAPPED)


@pytest.fixture
def bundle() -> Bundle:
    return BundleStore(home_dir()).open("whitened-spectrum")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GraphCache:
    cache = GraphCache(tmp_path / "graphs")
    monkeypatch.setattr(opening, "graph_cache", lambda: cache)
    return cache


@pytest.fixture
def all_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "policy_from_size", lambda _: WeightPolicy.MAPPED)


def built(bundle: Bundle, cache: GraphCache) -> CompiledGraph:
    (one,) = build_for_cpu(bundle, cache)
    assert one.compiled is not None
    return one.compiled


def loaded(monkeypatch: pytest.MonkeyPatch, bundle: Bundle, options: RuntimeOptions) -> Path:
    """Return the file that a runner of the bundle is made from."""
    seen: list[Path] = []
    monkeypatch.setattr(opening, "runner_from_onnx", lambda path, *_: seen.append(path))
    runner_from_bundle(bundle, ROLE, CPU, options)
    return seen[0]


@pytest.mark.usefixtures("all_large")
def test_what_was_built_is_found_and_computes_the_same(bundle, cache) -> None:
    made = built(bundle, cache)
    (again,) = build_for_cpu(bundle, cache)
    assert (again.compiled, again.was_cached) == (made, True)
    assert made.path.with_name(WEIGHTS_NAME).stat().st_size > 0
    with runner_from_bundle(bundle, ROLE, CPU, MAPPED) as ours:
        random = np.random.default_rng(0)
        feeds = {
            "tiles": random.integers(0, 256, (2, 256, 256, 3), dtype=np.uint8),
            "tile_weights": np.array([[0.25, 0.75]], np.float32),
        }
        found = ours.run(feeds)
    reference = onnxruntime.InferenceSession(str(bundle.graph_path(ROLE)))
    for array, expected in zip(found.values(), reference.run(list(found), feeds), strict=True):
        np.testing.assert_allclose(array, expected, atol=2e-5)


@pytest.mark.usefixtures("all_large")
def test_only_mapped_graphs_on_the_cpu_are_replaced(bundle, cache, monkeypatch) -> None:
    exported = bundle.graph_path(ROLE)
    assert loaded(monkeypatch, bundle, MAPPED) == exported
    made = built(bundle, cache)
    assert loaded(monkeypatch, bundle, MAPPED) == made.path
    at_load = RuntimeOptions(threads=1, weights=WeightPolicy.OPTIMISED)
    assert loaded(monkeypatch, bundle, at_load) == exported


@pytest.mark.parametrize("of_the_runtime", [True, False])
@pytest.mark.usefixtures("all_large")
def test_another_runtime_or_processor_does_not_find_it(
    bundle, cache, monkeypatch, of_the_runtime
) -> None:
    built(bundle, cache)
    if of_the_runtime:
        monkeypatch.setattr(building.ort, "__version__", "0.0")
    else:
        monkeypatch.setattr(machine, "processor_features", lambda: "another")
    assert cache.find(cpu_key(bundle.manifest.graphs[ROLE])) is None


@pytest.mark.usefixtures("all_large")
def test_a_full_disk_is_refused_before_anything_is_written(bundle, cache, monkeypatch) -> None:
    usage = building.shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(building.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(BackendError, match="GB are free"):
        built(bundle, cache)
    assert list(cache.folder.iterdir()) == []


@pytest.mark.usefixtures("all_large")
def test_weights_in_eight_bits_are_left_as_exported(bundle, cache, monkeypatch) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(bundle.graph_path(ROLE))
    model.graph.initializer.add(name="w", data_type=onnx.TensorProto.INT8, dims=[1], raw_data=b"1")
    narrow = cache.folder.parent / "narrow.onnx"
    onnx.save(model, narrow)
    monkeypatch.setattr(Bundle, "graph_path", lambda *_: narrow)

    (one,) = build_for_cpu(bundle, cache)

    assert one.compiled is None


@pytest.mark.usefixtures("all_large")
def test_what_cannot_be_optimised_leaves_nothing(bundle, cache, monkeypatch) -> None:
    monkeypatch.setattr(building.ort, "InferenceSession", lambda *_, **__: 1 / 0)
    with pytest.raises(BackendError, match="cannot optimise"):
        built(bundle, cache)
    assert list(cache.folder.iterdir()) == []


def test_the_command_builds_once_and_leaves_small_graphs_to_the_loading(monkeypatch) -> None:
    command = ["build", "whitened-spectrum", "--backend", "onnxruntime"]
    small = CliRunner().invoke(cli, command)
    assert (small.exit_code, "small" in small.stdout) == (0, True)
    monkeypatch.setattr(building, "policy_from_size", lambda _: WeightPolicy.MAPPED)
    first, second = (CliRunner().invoke(cli, command).stdout for _ in range(2))
    assert "compiled in" in first
    assert "cached" in second
    assert "compiled in" in CliRunner().invoke(cli, [*command, "--rebuild"]).stdout
    assert len(list(graph_cache().list())) == 1


def test_options_of_tensorrt_are_refused() -> None:
    command = ["build", "whitened-spectrum", "--backend", "onnxruntime", "--refittable"]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 2
    assert "--refittable" in result.stderr
