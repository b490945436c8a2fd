"""Wide 3 x 3 convolutions have a second form for a CPU, with a quarter of the products."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from lineup.backends import building, opening
from lineup.backends.building import WEIGHTS_NAME, build_for_cpu
from lineup.backends.device import Device, DeviceKind
from lineup.backends.graph_cache import GraphCache
from lineup.backends.onnxrt import RuntimeOptions, WeightPolicy
from lineup.backends.opening import runner_from_bundle
from lineup.bundles.bundle import Bundle
from lineup.bundles.info import FingerprintInfo, Preprocess
from lineup.bundles.manifest import BundleKind, Origin, Source
from lineup.errors import ParityError
from lineup_export.assembly import write_bundle
from lineup_export.component import Component, ExportOptions
from lineup_export.external import WeightFiles
from lineup_export.graph import CPU_GRAPH_NAME, InputSpec, OnnxGraph, graph_from_module

pytestmark = pytest.mark.filterwarnings("ignore")

ROLE = "vae_decoder"
WIDE, NARROW = 256, 8
FIELDS = {
    "kind": BundleKind.FINGERPRINT,
    "name": "toy",
    "licence": "MIT",
    "source": Source(Origin.RANDOM, "random:0", "0"),
    "tools": {},
    "preprocess": Preprocess(),
    "fingerprint": FingerprintInfo(8, "toy"),
}


class Stages(nn.Module):
    """A narrow convolution, and some more."""

    def __init__(self, *more: nn.Module, wide: int = WIDE) -> None:
        super().__init__()
        self.first = nn.Conv2d(NARROW, wide, 1)
        self.more = nn.Sequential(*more)

    def forward(self, features: Tensor) -> Tensor:
        return self.more(torch.tanh(self.first(features)))


def wide(**options: object) -> nn.Conv2d:
    return nn.Conv2d(WIDE, WIDE, **{"kernel_size": 3, "padding": 1, **options})  # type: ignore[arg-type]


def input_spec() -> InputSpec:
    axes = {0: "images", 2: "rows", 3: "columns"}
    return InputSpec("features", torch.randn(2, NARROW, 6, 5), axes)


def exported(module: nn.Module, folder: Path, *, fuse: bool = True) -> OnnxGraph:
    files = WeightFiles(folder)
    return graph_from_module(
        module.eval(), [input_spec()], ["found"], opset=18, fuse_attention=fuse, files=files
    )


def written(module: nn.Module, target: Path) -> Bundle:
    """Export a module as the only component of a bundle."""
    samples = tuple({"features": torch.randn(n, NARROW, 7, 9)} for n in (1, 2))
    component = Component(ROLE, lambda _: module, (input_spec(),), ("found",), samples)
    return write_bundle(target, FIELDS, [component], {}, ExportOptions()).bundle


def operators(content: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(content).graph.node]


@pytest.mark.parametrize("bias", [True, False])
def test_it_computes_the_same_up_to_rounding(tmp_path: Path, bias: bool) -> None:
    module = Stages(wide(bias=bias), wide())
    path = exported(module, tmp_path).write(tmp_path).with_name(CPU_GRAPH_NAME)

    assert "FusedMatMul" in operators(path.read_bytes())
    session = onnxruntime.InferenceSession(path)
    for shape in ((2, NARROW, 6, 5), (1, NARROW, 1, 1), (3, NARROW, 7, 16), (1, NARROW, 8, 4)):
        features = torch.randn(shape)
        (found,) = session.run(None, {"features": features.numpy()})
        expected = module(features).detach().numpy()
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


def test_both_forms_read_the_same_weights(tmp_path: Path) -> None:
    made = exported(Stages(wide()), tmp_path)
    assert made.on_cpu is not None

    plain, on_cpu = (
        {
            entry.value
            for one in onnx.load_from_string(content).graph.initializer
            for entry in one.external_data
            if entry.key == "location"
        }
        for content in (made.onnx, made.on_cpu)
    )
    assert on_cpu <= plain == set(made.weights)
    assert "FusedMatMul" not in operators(made.onnx)
    assert len(made.on_cpu) < len(made.onnx) + 40_000


@pytest.mark.parametrize(
    "module",
    [
        Stages(wide(stride=2)),
        Stages(wide(kernel_size=1, padding=0)),
        Stages(wide(padding=0)),
        Stages(wide(dilation=2, padding=2)),
        Stages(wide(groups=2)),
        Stages(nn.Conv2d(128, 128, 3, padding=1), wide=128),
        Stages(nn.Conv2d(320, 320, 3, padding=1), wide=320),
        Stages(nn.Conv2d(512, 256, 3, padding=1), wide=512),
    ],
    ids=["stride", "1 x 1", "smaller", "dilation", "groups", "narrow", "denoiser", "narrowing"],
)
def test_anything_else_has_one_form(tmp_path: Path, module: nn.Module) -> None:
    assert exported(module, tmp_path).on_cpu is None


def test_graphs_for_every_backend_have_one_form(tmp_path: Path) -> None:
    assert exported(Stages(wide()), tmp_path, fuse=False).on_cpu is None


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return written(Stages(wide()), tmp_path / "bundle")


def test_a_cpu_takes_its_form_and_keeps_no_transformed_weights(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = GraphCache(tmp_path / "graphs")
    monkeypatch.setattr(opening, "graph_cache", lambda: cache)
    monkeypatch.setattr(building, "policy_from_size", lambda _: WeightPolicy.MAPPED)
    files: list[Path] = []
    make = opening.runner_from_onnx
    monkeypatch.setattr(
        opening, "runner_from_onnx", lambda path, *rest: files.append(path) or make(path, *rest)
    )
    feed = {"features": np.random.default_rng(0).normal(size=(1, NARROW, 9, 9)).astype("f")}

    options = RuntimeOptions(threads=1, weights=WeightPolicy.MAPPED)
    found = []
    for _ in ("as exported", "compiled"):
        with runner_from_bundle(bundle, ROLE, Device(DeviceKind.CPU), options) as runner:
            found.append(runner.run(feed)["found"])
        (compiled,) = build_for_cpu(bundle, cache)
    assert files[0].name == f"{ROLE}.cpu.onnx"
    assert compiled.compiled is not None
    assert files[1] == compiled.compiled.path
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)
    (weights,) = bundle.manifest.graphs[ROLE].weights
    assert files[1].with_name(WEIGHTS_NAME).stat().st_size < 1.2 * weights.size_bytes


def test_other_devices_take_the_graph_as_it_was_exported(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: list[Path] = []
    monkeypatch.setattr(opening, "runner_from_onnx", lambda path, *_: files.append(path))
    runner_from_bundle(bundle, ROLE, Device(DeviceKind.CUDA))
    assert files[0].name == f"{ROLE}.onnx"


def test_a_form_that_computes_something_else_makes_no_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineup_export.winograd._RESULTS", np.eye(4, 6))
    with pytest.raises(ParityError, match=ROLE):
        written(Stages(wide()), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
