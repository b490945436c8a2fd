"""Graphs optimised ahead of time: used for exactly what they were made for, and never else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner

from lineup.backends import opening, optimised
from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt import RuntimeOptions, WeightPolicy
from lineup.backends.opening import optimised_graphs, runner_from_bundle
from lineup.backends.optimised import OptimisedGraphs, roles_to_optimise
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
def cache(tmp_path: Path) -> OptimisedGraphs:
    return OptimisedGraphs(tmp_path / "optimised")


def loaded(monkeypatch: pytest.MonkeyPatch, bundle: Bundle, options: RuntimeOptions) -> Path:
    """Return the file that a runner of the bundle is made from."""
    seen: list[Path] = []
    monkeypatch.setattr(opening, "runner_from_onnx", lambda path, *_: seen.append(path))
    runner_from_bundle(bundle, ROLE, CPU, options)
    return seen[0]


def test_what_was_built_is_found_and_computes_the_same(bundle, cache, monkeypatch) -> None:
    assert cache.find(bundle, ROLE) is None
    built = cache.build(bundle, ROLE)
    assert cache.find(bundle, ROLE) == built
    assert built.path.with_name(optimised.WEIGHTS_NAME).stat().st_size > 0
    monkeypatch.setattr(opening, "optimised_graphs", lambda: cache)
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


def test_only_mapped_graphs_on_the_cpu_are_replaced(bundle, cache, monkeypatch) -> None:
    monkeypatch.setattr(opening, "optimised_graphs", lambda: cache)
    exported = bundle.graph_path(ROLE)
    assert loaded(monkeypatch, bundle, MAPPED) == exported
    built = cache.build(bundle, ROLE)
    assert loaded(monkeypatch, bundle, MAPPED) == built.path
    at_load = RuntimeOptions(threads=1, weights=WeightPolicy.OPTIMISED)
    assert loaded(monkeypatch, bundle, at_load) == exported


@pytest.mark.parametrize(("module", "name"), [("ort", "__version__"), (None, "processor_features")])
def test_another_runtime_or_processor_does_not_find_it(
    bundle, cache, monkeypatch, module, name
) -> None:
    cache.build(bundle, ROLE)
    target = optimised if module is None else optimised.ort
    monkeypatch.setattr(target, name, "0.0" if module else lambda: "another")
    assert cache.find(bundle, ROLE) is None


def test_building_removes_what_another_release_left(bundle, cache, monkeypatch) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(optimised.ort, "__version__", "0.0")
        old = cache.build(bundle, ROLE)
    new = cache.build(bundle, ROLE)
    assert [path.name for path in cache.folder.iterdir()] == [new.path.parent.name]
    assert not old.path.exists()


def test_damage_is_seen_and_a_copy_is_not_damage(bundle, cache) -> None:
    weights = cache.build(bundle, ROLE).path.with_name(optimised.WEIGHTS_NAME)
    os.utime(weights, ns=(1, 1))
    assert cache.find(bundle, ROLE) is not None
    content = bytearray(weights.read_bytes())
    content[100] ^= 1
    weights.write_bytes(content)
    assert cache.find(bundle, ROLE) is None
    assert cache.build(bundle, ROLE) == cache.find(bundle, ROLE)


def test_a_record_of_something_else_is_not_read(bundle, cache) -> None:
    record = cache.build(bundle, ROLE).path.with_name(optimised.RECORD_NAME)
    content = json.loads(record.read_text())
    content["key"]["graph"] = "0" * 64
    record.write_text(json.dumps(content))
    assert cache.find(bundle, ROLE) is None
    record.write_text("{")
    assert cache.find(bundle, ROLE) is None


def test_a_full_disk_is_refused_before_anything_is_written(bundle, cache, monkeypatch) -> None:
    usage = optimised.shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(optimised.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(BackendError, match="GB are free"):
        cache.build(bundle, ROLE)
    assert list(cache.folder.iterdir()) == []


def test_what_cannot_be_optimised_leaves_nothing(bundle, cache, monkeypatch) -> None:
    monkeypatch.setattr(optimised.ort, "InferenceSession", lambda *_, **__: 1 / 0)
    with pytest.raises(BackendError, match="cannot optimise"):
        cache.build(bundle, ROLE)
    assert list(cache.folder.iterdir()) == []


def test_small_graphs_are_left_to_the_loading(bundle, monkeypatch) -> None:
    assert list(roles_to_optimise(bundle)) == []
    monkeypatch.setattr(optimised, "policy_from_size", lambda _: WeightPolicy.MAPPED)
    assert list(roles_to_optimise(bundle)) == [ROLE]


def test_the_command_builds_once(monkeypatch) -> None:
    command = ["build", "whitened-spectrum", "--backend", "onnxruntime"]
    small = CliRunner().invoke(cli, command)
    assert (small.exit_code, "small" in small.stdout) == (0, True)
    monkeypatch.setattr(optimised, "policy_from_size", lambda _: WeightPolicy.MAPPED)
    first, second = (CliRunner().invoke(cli, command).stdout for _ in range(2))
    assert "optimised in" in first
    assert "cached" in second
    assert "optimised in" in CliRunner().invoke(cli, [*command, "--rebuild"]).stdout
    assert len(list(optimised_graphs().folder.iterdir())) == 1


def test_options_of_tensorrt_are_refused() -> None:
    command = ["build", "whitened-spectrum", "--backend", "onnxruntime", "--refittable"]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 2
    assert "--refittable" in result.stderr
