"""Costs of a bundle: measured as the runtime runs it, and kept in its manifest."""

import shutil
import sys
from importlib.util import find_spec
from unittest.mock import MagicMock

import numpy as np
import pytest
from click.testing import CliRunner

from lineup.backends.device import Device, DeviceKind
from lineup.backends.measured import ITEMS, keep_measured, measured_on
from lineup.backends.opening import uses_arena
from lineup.bundles.bundle import open_bundle
from lineup.bundles.manifest import GraphCost
from lineup.cli.models import models
from lineup.errors import BackendError, UsageError
from lineup.machine import usable_cores
from lineup.paths import shipped_dir
from lineup.planning import measuring
from lineup.planning.costs import graph_costs
from lineup.planning.measuring import (
    MeasuredGraph,
    bundle_with_costs,
    graphs_on_device,
    measured_from_graphs,
    native_feeds,
    with_costs,
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is told by Linux only")
COST = GraphCost(2**20, 2**19, 2**18, 1.5, 1.25, 2)
CPU, OPENVINO = Device(DeviceKind.CPU), Device(DeviceKind.OPENVINO, precision="f32")


def shipped(name):
    return shipped_dir() / "bundles" / name


@pytest.fixture
def clip(tmp_path):
    """A copy of a small bundle, without costs."""
    path = tmp_path / "clip"
    shutil.copytree(shipped("pocket-clip"), path)
    return open_bundle(path)


def test_a_generator_is_fed_its_native_size():
    manifest = open_bundle(shipped("pocket-ash")).manifest
    info = manifest.generation
    cells = info.native_width_px // info.latent_factor
    shape = native_feeds(manifest, "unet", 2)["latents"].shape
    assert shape == (2, info.latent_channels, cells, cells)
    image = native_feeds(manifest, "vae_encoder", 1)["image"]
    assert image.shape == (1, 3, info.native_height_px, info.native_width_px)


def test_a_fingerprint_is_fed_tiles_of_one_image():
    manifest = open_bundle(shipped("whitened-spectrum")).manifest
    feeds = native_feeds(manifest, "fingerprint", 3)
    assert feeds["tiles"].shape == (3, 256, 256, 3)
    assert feeds["tile_weights"].shape == (1, 3)


@linux
def test_costs_are_kept_and_the_digest_stays(clip):
    measured = bundle_with_costs(clip)
    again = open_bundle(clip.path)
    assert again.manifest == measured.manifest
    assert again.digest == measured.digest == clip.digest
    cost = again.manifest.graphs["image_tower"].cost
    assert cost.threads == usable_cores()
    assert cost.run_ms > 0
    weights = sum(one.size_bytes for one in clip.manifest.graphs["image_tower"].weights)
    assert 0 < cost.activation_bytes < 256 * 2**20
    assert 0 < cost.loaded_bytes < 4 * weights
    assert all(graph.cost is not None for graph in again.manifest.graphs.values())


@pytest.mark.parametrize(("in_arena", "loaded", "activation"), [(False, 350, 50), (True, 30, 370)])
def test_what_a_large_graph_keeps_of_the_arena_is_of_its_runs(
    clip, monkeypatch, in_arena, loaded, activation
):
    private = iter([100, 130])  # before and after the graph is loaded
    monkeypatch.setattr(measuring, "_private_bytes", lambda: next(private))
    monkeypatch.setattr(measuring, "_measured", lambda *_: (500, 450, 1.0))
    monkeypatch.setattr(measuring, "uses_arena", lambda *_: in_arena)
    cost = measuring._measured_graph(clip, "image_tower", CPU, 1).cost
    assert (cost.loaded_bytes, cost.activation_bytes) == (loaded, activation)


@pytest.mark.parametrize(("width", "runs", "more"), [(1, 1, (0, 0.0)), (2, 2, (200, 3.0))])
def test_a_second_item_is_measured_where_the_graph_takes_one(clip, monkeypatch, width, runs, more):
    feeds = {1: {"x": np.zeros((1, 3))}, 2: {"x": np.zeros((width, 3))}}
    measured = [(900, 450, 5.0), (700, 450, 2.0)]
    monkeypatch.setattr(measuring, "native_feeds", lambda manifest, role, items: feeds[items])
    monkeypatch.setattr(measuring, "_measured", lambda *_: measured.pop())
    cost = measuring._measured_graph(clip, "image_tower", CPU, 1).cost
    assert len(measured) == 2 - runs
    assert (cost.activation_bytes_per_item, cost.run_ms_per_item) == more
    assert cost.run_ms == 2.0


def test_a_fingerprint_is_measured_in_one_thread(monkeypatch):
    monkeypatch.setattr(measuring, "_measured", lambda *_: (500, 450, 1.0))
    bundle = open_bundle(shipped("whitened-spectrum"))
    assert measuring._measured_graph(bundle, "fingerprint", CPU, 3).cost.threads == 1


def test_memory_of_runs_is_in_bytes(monkeypatch):
    watch = MagicMock()
    watch.__enter__.return_value.peak.anonymous_mib = 3.0
    monkeypatch.setattr(measuring, "MemoryWatch", lambda: watch)
    monkeypatch.setattr(measuring, "LEAST_SECONDS", 0.0)
    runner = MagicMock()
    peak, _, milliseconds = measuring._measured(runner, {})
    assert peak == 3 * 2**20
    assert runner.run.call_count >= 1 + measuring.LEAST_RUNS
    assert 0 < milliseconds < 1000


def test_the_time_of_a_run_is_the_fastest_in_ms(monkeypatch):
    clock = [0.0]
    seconds = iter([9.0, 0.5, 0.25, 0.75])  # the first warms up

    def run(feeds):
        clock[0] += next(seconds)

    monkeypatch.setattr(measuring, "MemoryWatch", MagicMock())
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: clock[0])
    assert measuring._measured(MagicMock(run=run), {})[2] == 250.0


@linux
def test_what_cannot_be_loaded_is_told_in_words(clip):
    clip.graph_path("image_tower").write_bytes(b"")
    with pytest.raises(BackendError, match=r"cannot be measured: .*onnx"):
        list(graphs_on_device(clip.path, CPU))


def test_other_systems_are_told_where_to_measure(clip, monkeypatch):
    monkeypatch.setattr(measuring.MemoryWatch, "available", staticmethod(lambda: False))
    with pytest.raises(BackendError, match="Linux only"):
        list(graphs_on_device(clip.path, CPU))


def test_graphs_that_were_not_measured_keep_their_costs(clip):
    with_costs(clip.path, {"image_tower": COST, "image_tower_cut": COST})
    other = GraphCost(1, 1, 1, 1.0, 1.0, 1)
    with_costs(clip.path, {"image_tower": other})
    graphs = open_bundle(clip.path).manifest.graphs
    assert graphs["image_tower"].cost == other
    assert graphs["image_tower_cut"].cost == COST


def test_a_manifest_that_cannot_be_written_is_a_usage_error(clip, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("lineup.planning.measuring.write_atomic", refuse)
    with pytest.raises(UsageError, match="cannot be written"):
        with_costs(clip.path, {"image_tower": COST})


def test_the_command_measures_says_what_it_found_and_keeps_it_for_this_machine(clip, monkeypatch):
    found = [(role, MeasuredGraph(COST, 7.0)) for role in clip.manifest.graphs]
    monkeypatch.setattr(measuring, "graphs_on_device", lambda *_, **__: iter(found))
    result = CliRunner().invoke(models, ["measure", str(clip.path)])
    assert result.exit_code == 0, result.output
    told = "image_tower: 0.2 MiB loaded, 1.0 MiB in a run of 1.5 ms (2 threads)"
    assert told in result.output
    assert graph_costs(clip)["image_tower"] == COST
    assert open_bundle(clip.path).manifest == clip.manifest


def test_loading_counts_what_an_item_needs(clip):
    graphs = {role: MeasuredGraph(COST, 7.0) for role in clip.manifest.graphs}
    assert len(graphs) > 1
    measured = measured_from_graphs(clip, CPU, graphs)
    assert (measured.load_ms, measured.item_ms) == (7.0, COST.run_ms)
    assert measured.ms == 7.0 + ITEMS * COST.run_ms
    keep_measured(clip, {CPU: measured})
    assert measured_on(clip) == {CPU: measured}


@linux
@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
def test_openvino_is_measured_and_its_memory_is_not_of_the_arena(clip, monkeypatch):
    monkeypatch.setattr(measuring, "LEAST_SECONDS", 0.0)
    measured = measuring._measured_graph(clip, "image_tower", OPENVINO, 1)
    assert measured.load_ms > 0
    assert measured.cost.run_ms > 0
    assert not uses_arena(clip, "image_tower", OPENVINO)


def test_the_command_wants_bundles_or_all():
    assert CliRunner().invoke(models, ["measure"]).exit_code == 2
