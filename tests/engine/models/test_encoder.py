"""The encoder on towers of three operators, so that every feature is known."""

import threading

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lineup.backends import opening
from lineup.backends.device import Device, DeviceKind
from lineup.bundles.info import EncoderInfo, Preprocess
from lineup.bundles.manifest import (
    BundleKind,
    Manifest,
    Origin,
    Parity,
    Precision,
    Source,
    TensorSpec,
)
from lineup.bundles.writer import BundleWriter, today
from lineup.errors import BackendError, BundleFormatError, BundleNotFoundError, UsageError
from lineup.models import components as module
from lineup.models import encoder as encoder_module
from lineup.models.encoder import ImageEncoder
from lineup.paths import shipped_dir
from lineup.runtime import Runtime

SIZE_PX = 8
LAYERS = (1, 3, 5)
DIMENSION = 4
EMBEDDING_DIMENSION = 2
PIXELS = TensorSpec("pixel_values", "float32", ("images", 3, SIZE_PX, SIZE_PX))
PREPROCESS = Preprocess(
    width_px=SIZE_PX,
    height_px=SIZE_PX,
    resize_mode="stretch",
    interpolation="bicubic",
    antialias=True,
    mean=(0, 0, 0),
    std=(1, 1, 1),
    value_range=(0, 1),
    colour_order="RGB",
    layout="NCHW",
)
RNG = np.random.default_rng(7)
CLS_WEIGHTS = RNG.normal(size=(3 * SIZE_PX**2, len(LAYERS) * DIMENSION)).astype(np.float32)
EMBEDDING_WEIGHTS = RNG.normal(size=(3 * SIZE_PX**2, EMBEDDING_DIMENSION)).astype(np.float32)


def tower(layers, embedding):
    """Flattened pixels times one matrix per output: `cls` (images, layers, DIMENSION)."""
    columns = [
        slice(DIMENSION * LAYERS.index(layer), DIMENSION * (LAYERS.index(layer) + 1))
        for layer in layers
    ]
    weights = np.concatenate([CLS_WEIGHTS[:, one] for one in columns], axis=1)
    shape = np.array([-1, len(layers), DIMENSION], np.int64)
    nodes = [
        helper.make_node("Flatten", ["pixel_values"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["rows"]),
        helper.make_node("Reshape", ["rows", "shape"], ["cls"]),
    ]
    constants = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(shape, "shape"),
    ]
    outputs = [TensorSpec("cls", "float32", ("images", len(layers), DIMENSION))]
    if embedding:
        nodes.append(helper.make_node("MatMul", ["flat", "projection"], ["embedding"]))
        constants.append(numpy_helper.from_array(EMBEDDING_WEIGHTS, "projection"))
        outputs.append(TensorSpec("embedding", "float32", ("images", EMBEDDING_DIMENSION)))
    values = [
        helper.make_tensor_value_info(one.name, TensorProto.FLOAT, one.shape)
        for one in (PIXELS, *outputs)
    ]
    graph = helper.make_graph(nodes, "tower", values[:1], values[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return {"onnx": model.SerializeToString(), "inputs": [PIXELS], "outputs": outputs}


def write_encoder(folder, *, towers, embedding=True, layers=LAYERS):
    description = Manifest(
        graphs={},
        created=today(),
        kind=BundleKind.ENCODER,
        name="toy-clip",
        licence="Apache-2.0",
        source=Source(Origin.RANDOM, "random:7", "1"),
        tools={},
        precision=Precision.FP32,
        preprocess=PREPROCESS,
        encoder=EncoderInfo(layers, 3, DIMENSION, EMBEDDING_DIMENSION if embedding else None),
    )
    with BundleWriter(folder, description) as writer:
        for role, graph in towers.items():
            parity = Parity("numpy", "max_relative_error", 0.0, 1e-6, 1)
            writer.add_graph(role, opset=18, parity=parity, **graph)
        return writer.finish().path


@pytest.fixture
def loaded(monkeypatch):
    """Names of the graphs that are loaded, in order."""
    names = []

    def runner_from_bundle(bundle, role, device, options):
        names.append(role)
        return opening.runner_from_bundle(bundle, role, device, options)

    monkeypatch.setattr(module, "runner_from_bundle", runner_from_bundle)
    return names


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    towers = {"image_tower": tower(LAYERS, True), "image_tower_cut": tower((3,), False)}
    return write_encoder(tmp_path_factory.mktemp("encoder") / "toy", towers=towers)


@pytest.fixture
def encoder(path, loaded):
    with Runtime("cpu", threads=1).open(ImageEncoder, path) as opened:
        yield opened


@pytest.fixture(scope="module")
def images():
    return [
        np.random.default_rng(i).integers(0, 256, (SIZE_PX, SIZE_PX, 3), np.uint8)
        for i in range(19)
    ]


def expected_features(images, layer):
    flat = np.stack([image.transpose(2, 0, 1).ravel() / 255 for image in images])
    if layer == "final":
        rows = flat @ EMBEDDING_WEIGHTS
    else:
        rows = (flat @ CLS_WEIGHTS).reshape(len(images), len(LAYERS), DIMENSION)
        rows = rows[:, LAYERS.index(layer)]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("layer", [1, 3, 5, "final"])
def test_the_layer_that_was_asked_for(encoder, images, layer):
    features = encoder.features(images, layer)

    assert features.dtype == np.float32
    assert features.shape == (len(images), encoder.dimension(layer))
    np.testing.assert_allclose(features, expected_features(images, layer), atol=1e-5)


def test_the_default_is_the_layer_of_the_manifest(encoder, images):
    np.testing.assert_allclose(encoder.features(images), expected_features(images, 3), atol=1e-5)


def test_the_cut_tower_is_all_that_the_default_layer_loads(encoder, loaded, images):
    encoder.features(images)
    encoder.features(images, 3)
    assert loaded == ["image_tower_cut"]

    encoder.features(images, 5)
    encoder.features(images, "final")
    assert loaded == ["image_tower_cut", "image_tower"]


def test_a_bundle_without_a_cut_tower(tmp_path, loaded, images):
    path = write_encoder(tmp_path / "whole", towers={"image_tower": tower(LAYERS, True)})

    with Runtime("cpu").open(ImageEncoder, path) as encoder:
        features = encoder.features(images)

    assert loaded == ["image_tower"]
    np.testing.assert_allclose(features, expected_features(images, 3), atol=1e-5)


@pytest.mark.parametrize(("on_cpu", "sizes"), [(True, [1] * 19), (False, [8, 8, 3])])
def test_images_run_in_batches_of_limited_size(encoder, images, monkeypatch, on_cpu, sizes):
    """On the CPU one by one, two runs at once."""
    seen, threads = [], set()
    run = encoder._components._runner("image_tower_cut").run

    def watched(feeds):
        seen.append(len(feeds["pixel_values"]))
        threads.add(threading.current_thread().name)
        return run(feeds)

    runner = encoder._components._runner("image_tower_cut")
    monkeypatch.setattr(runner, "run", watched)
    alone = np.concatenate([encoder.features([image]) for image in images])
    assert seen == [1] * 19
    assert threads == {threading.current_thread().name}
    seen.clear()
    if not on_cpu:
        encoder.device = Device(DeviceKind.CUDA)
        monkeypatch.setattr(encoder_module, "GPU_IMAGES_PER_RUN", 8)

    together = encoder.features(images)

    assert seen == sizes
    assert any(name.startswith("lineup-encode") for name in threads) == on_cpu
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_no_image(encoder):
    assert encoder.features([]).shape == (0, DIMENSION)
    assert encoder.features([], "final").shape == (0, EMBEDDING_DIMENSION)


@pytest.mark.parametrize("layer", [0, 2, 6, -1, "last"])
def test_a_layer_that_the_bundle_lacks(encoder, images, layer):
    with pytest.raises(UsageError, match=r"has the layers 1, 3, 5, final"):
        encoder.features(images, layer)


def test_a_tower_without_projection_has_no_final_layer(tmp_path, images):
    path = write_encoder(
        tmp_path / "cut", towers={"image_tower": tower(LAYERS, False)}, embedding=False
    )

    with (
        Runtime("cpu").open(ImageEncoder, path) as encoder,
        pytest.raises(UsageError, match=r"has the layers 1, 3, 5\."),
    ):
        encoder.features(images, "final")


def test_a_feature_without_direction_is_an_error(encoder):
    black = np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8)

    with pytest.raises(BackendError, match="no direction"):
        encoder.features([black])


def test_a_tower_of_other_layers_than_the_manifest_says(tmp_path, images):
    path = write_encoder(tmp_path / "wrong", towers={"image_tower": tower((1, 3), True)})

    with (
        Runtime("cpu").open(ImageEncoder, path) as encoder,
        pytest.raises(BackendError, match=r"expected \[1, 3, 4\]"),
    ):
        encoder.features(images, 5)


def test_a_bundle_without_a_tower_is_refused(tmp_path):
    path = write_encoder(tmp_path / "half", towers={"image_tower_cut": tower((3,), False)})

    with pytest.raises(BundleFormatError, match=r"graphs\.image_tower"):
        Runtime("cpu").open(ImageEncoder, path)


def test_a_closed_encoder_is_not_used(path, images):
    encoder = Runtime("cpu").open(ImageEncoder, path)
    encoder.close()

    with pytest.raises(BackendError, match="closed"):
        encoder.features(images)


def test_an_unknown_bundle_is_refused():
    with pytest.raises(BundleNotFoundError, match="nothing-of-the-kind"):
        Runtime().open(ImageEncoder, "nothing-of-the-kind")


def test_another_kind_of_model_is_refused():
    with pytest.raises(BundleFormatError, match="expected encoder"):
        Runtime("cpu").open(ImageEncoder, shipped_dir() / "bundles" / "whitened-spectrum")
