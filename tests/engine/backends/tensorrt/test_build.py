"""What is refused before an engine is built."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lineup.backends.tensorrt.api import Flavour
from lineup.backends.tensorrt.build import build_bundle
from lineup.backends.tensorrt.engines import EngineCache
from lineup.backends.tensorrt.options import BuildOptions
from lineup.bundles.bundle import open_bundle
from lineup.errors import UsageError
from lineup.paths import shipped_dir


def test_a_graph_with_operators_of_onnx_runtime_is_refused_in_words(rtx_api, tmp_path) -> None:
    onnx = pytest.importorskip("onnx")
    bundle = open_bundle(shipped_dir() / "bundles" / "whitened-spectrum")
    sets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("com.microsoft", 1)]
    model = onnx.ModelProto(ir_version=9, opset_import=sets)
    (tmp_path / bundle.graph_path("fingerprint").name).write_bytes(model.SerializeToString())
    options = BuildOptions(Flavour.RTX, compute_capability=(8, 6))
    engines = build_bundle(
        replace(bundle, path=tmp_path), rtx_api, options, EngineCache(tmp_path / "engines")
    )
    with pytest.raises(UsageError, match=r"made for CPUs.*com\.microsoft") as raised:
        next(engines)
    assert "--precision fp16" in str(raised.value.hint)
