"""`lineup bench --compare-devices` measures every device, prints one table and keeps the result."""

import json

import pytest
from click.testing import CliRunner

from lineup.backends.device import Device, DeviceKind
from lineup.backends.measured import fastest_device, measured_on
from lineup.bundles.manifest import GraphCost
from lineup.cli.main import cli
from lineup.errors import BackendError
from lineup.planning.measuring import MeasuredGraph
from lineup.runtime import Runtime
from lineup_lab.bench import devices as module

CPU = Device(DeviceKind.CPU)
OPENVINO = Device(DeviceKind.OPENVINO, precision="f32")
IN_BF16 = Device(DeviceKind.OPENVINO, precision="bf16")
RUN_MS = {CPU: 100.0, OPENVINO: 50.0, IN_BF16: 20.0}


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A machine whose NPU fails."""
    npu = Device(DeviceKind.OPENVINO_NPU, precision="f16")

    def graphs_on_device(path, device, *, threads):
        if device == npu:
            raise BackendError("the NPU is hot")
        for role in Runtime().unverified_bundle(path).manifest.graphs:
            cost = GraphCost(2**20, 0, 3 * 2**20, RUN_MS[device], 0.0, threads)
            yield role, MeasuredGraph(cost, 1500.0)

    monkeypatch.setattr(module, "graphs_on_device", graphs_on_device)
    monkeypatch.setattr(module, "usable_devices", lambda: [*RUN_MS, npu])


def test_a_table_tells_every_graph_on_every_device_and_what_auto_takes():
    result = CliRunner().invoke(
        cli, ["bench", "pocket-clip", "--compare-devices", "--threads", "2"], env={"COLUMNS": "140"}
    )
    assert result.exit_code == 0, result.output
    rows = [line for line in result.stdout.splitlines() if "image_tower_cut" in line]
    assert len(rows) == 3
    assert all(figure in rows[1] for figure in ("openvino:cpu:f32", "1.50", "50.0", "3", "1"))
    assert "pocket-clip on openvino:npu:f16: the NPU is hot" in result.stdout
    assert "--device auto takes openvino:cpu:f32" in result.stdout
    bundle = Runtime().bundle("pocket-clip")
    kept = measured_on(bundle)
    assert {device: one.item_ms for device, one in kept.items()} == RUN_MS
    assert fastest_device(bundle) == OPENVINO


def test_a_lineup_is_all_of_its_bundles_and_a_fingerprint_is_never_below_f32(tmp_path):
    output = tmp_path / "devices.json"
    command = ["bench", "pocket", "--compare-devices", "--json", "--threads", "1"]
    result = CliRunner().invoke(cli, [*command, "-o", str(output)])
    assert result.exit_code == 0, result.output
    found = {one["bundle"]: one for one in json.loads(result.stdout)}
    assert json.loads(output.read_text()) == list(found.values())
    assert {"pocket-captioner", "pocket-clip", "pocket-ash", "whitened-spectrum"} <= set(found)
    assert set(found["whitened-spectrum"]["devices"]) == {"cpu", "openvino:cpu:f32"}
    clip = found["pocket-clip"]["devices"]["openvino:cpu:bf16"]
    assert (clip["load_ms"], clip["item_ms"]) == (1500.0, 20.0)


def test_options_of_another_measurement_are_refused():
    command = ["bench", "pocket-clip", "--compare-devices", "--device", "cpu", "--gamma", "2"]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 2
    assert "--device, --gamma: not with --compare-devices" in result.stderr
