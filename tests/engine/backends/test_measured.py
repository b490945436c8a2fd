"""`--device auto` on a CPU takes what was measured to be fastest on this machine, in f32."""

from __future__ import annotations

import logging

import pytest

from lineup import reference
from lineup.backends import measured as record
from lineup.backends import opening
from lineup.backends.device import Device, DeviceKind
from lineup.backends.measured import ITEMS, Measured, fastest_device, keep_measured, measured_on
from lineup.bundles.manifest import GraphCost
from lineup.fingerprint import DEFAULT_BUNDLE
from lineup.lineups.models import open_resynthesis_models
from lineup.lineups.store import open_lineup
from lineup.runtime import Runtime

CPU = Device(DeviceKind.CPU)
OPENVINO = Device(DeviceKind.OPENVINO, precision="f32")
IN_BF16 = Device(DeviceKind.OPENVINO, precision="bf16")


@pytest.fixture(autouse=True)
def releases(monkeypatch):
    """What computes, and its version."""
    found = {DeviceKind.CPU: "1.0", DeviceKind.OPENVINO: "2026.4"}
    monkeypatch.setattr(record, "release_of", lambda device: found[device.kind])
    monkeypatch.setattr(opening, "probe", lambda device: None if device.on_cpu else "no driver")
    return found


@pytest.fixture
def bundle():
    return Runtime().bundle("pocket-clip")


def costs(bundle, load_ms, item_ms, release):
    cost = GraphCost(1, 1, 1, item_ms, 1.0, 1)
    return Measured(release, load_ms, item_ms, dict.fromkeys(bundle.manifest.graphs, cost))


def keep(bundle, cpu=(10.0, 100.0), **others):
    figures = {CPU: costs(bundle, *cpu, "1.0")}
    devices = {"openvino": OPENVINO, "bf16": IN_BF16}
    figures |= {devices[name]: costs(bundle, *one, "2026.4") for name, one in others.items()}
    keep_measured(bundle, figures)


def test_what_was_measured_is_kept_beside_what_was_before(bundle):
    assert measured_on(bundle) == {}
    keep(bundle)
    openvino = costs(bundle, 1.0, 2.0, "2026.4")
    keep_measured(bundle, {OPENVINO: openvino})
    assert measured_on(bundle) == {CPU: costs(bundle, 10.0, 100.0, "1.0"), OPENVINO: openvino}
    assert measured_on(Runtime().bundle("pocket-captioner")) == {}


def test_figures_of_another_release_machine_or_graph_do_not_count(bundle, releases, monkeypatch):
    keep(bundle, openvino=(1.0, 1.0))
    releases[DeviceKind.OPENVINO] = "2027.1"
    assert list(measured_on(bundle)) == [CPU]
    monkeypatch.setattr(record, "_machine", lambda: "another")
    assert measured_on(bundle) == {}


def test_a_record_that_cannot_be_read_is_none(bundle):
    keep(bundle)
    record._path(bundle).write_text("{")
    assert measured_on(bundle) == {}


@pytest.mark.parametrize(
    ("openvino", "expected"),
    [
        ((10.0, 50.0), OPENVINO),
        ((10.0 + 49.0 * ITEMS, 50.0), OPENVINO),
        ((10.0 + 51.0 * ITEMS, 50.0), CPU),  # loading is not earned back
        ((1.0, 200.0), CPU),
    ],
)
def test_the_fastest_by_record_is_taken_and_said(bundle, caplog, openvino, expected):
    keep(bundle, openvino=openvino)
    with caplog.at_level(logging.INFO):
        assert fastest_device(bundle) == expected
    assert f"device auto: pocket-clip on {expected}, by record" in caplog.text
    assert "cpu 1.01 s" in caplog.text


def test_unmeasured_it_is_onnx_runtime_and_the_log_says_how_to_measure(bundle, caplog):
    keep_measured(bundle, {OPENVINO: costs(bundle, 1.0, 1.0, "2026.4")})
    with caplog.at_level(logging.INFO):
        assert fastest_device(bundle) == CPU
    assert "lineup bench pocket-clip --compare-devices" in caplog.text


def test_less_than_f32_is_never_taken_unasked(bundle):
    keep(bundle, openvino=(1.0, 90.0), bf16=(1.0, 1.0))
    assert fastest_device(bundle) == OPENVINO


def test_auto_takes_it_bundle_by_bundle_and_never_for_what_is_compared_with_stored_numbers(
    bundle, monkeypatch
):
    keep(bundle, openvino=(1.0, 1.0))
    fingerprint = Runtime().bundle(DEFAULT_BUNDLE)
    keep(fingerprint, openvino=(1.0, 1.0))
    opened = {}

    class Opened:
        digest = source = name = ""
        layers, default_layer = (1,), 1

        def __init__(self, bundle, device, options, **_):
            opened[bundle.manifest.name] = str(device)

        def close(self):
            pass

    runtime = Runtime("auto", threads=1)
    runtime.open(Opened, "pocket-clip")
    runtime.open(Opened, "pocket-captioner")
    runtime.open(Opened, DEFAULT_BUNDLE)
    assert opened == {
        "pocket-clip": "openvino:cpu:f32",
        "pocket-captioner": "cpu",
        DEFAULT_BUNDLE: "cpu",
    }
    monkeypatch.setattr(reference, "REFERENCE_BUNDLE", "pocket-clip")
    monkeypatch.setattr(reference, "ImageEncoder", Opened)
    reference.open_reference_encoder(runtime)
    assert opened["pocket-clip"] == "cpu"
    Runtime("cpu").open(Opened, "pocket-clip")
    assert opened["pocket-clip"] == "cpu"


def test_models_that_are_loaded_stage_by_stage_are_too(bundle, monkeypatch):
    keep(bundle, openvino=(1.0, 1.0))
    lineup = open_lineup("pocket")
    with open_resynthesis_models(lineup, None, runtime=Runtime("auto"), keep=False) as models:
        assert str(models.resynthesizer._models.encoder_traits.device) == "openvino:cpu:f32"
