"""OpenVINO computes what ONNX Runtime does, within bounds, and never elsewhere than asked for."""

from __future__ import annotations

import gc
import importlib.util
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from lineup import reference
from lineup.backends import opening
from lineup.backends import openvino as backend
from lineup.backends.building import native_shapes
from lineup.backends.device import Device, DeviceKind
from lineup.backends.graph_cache import graph_cache
from lineup.backends.onnxrt import RuntimeOptions
from lineup.backends.opening import options_for_device, runner_from_bundle
from lineup.backends.openvino import (
    BLOB_NAME,
    OpenVinoRunner,
    openvino_key,
    with_precision,
    write_blob,
)
from lineup.cli.main import cli, main
from lineup.errors import BackendError, DeviceUnavailableError
from lineup.fingerprint import DEFAULT_BUNDLE, FingerprintExtractor
from lineup.imaging.decode import image_from_bytes
from lineup.lineups.models import open_resynthesis_models
from lineup.lineups.store import open_lineup
from lineup.models.captioner import Captioner
from lineup.paths import shipped_dir
from lineup.runtime import Runtime

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed"
)
CPU = Device(DeviceKind.CPU)
OPENVINO = Device(DeviceKind.OPENVINO, precision="f32")
ONE_THREAD = RuntimeOptions(threads=1)
LENGTHS = {"rows": 16, "columns": 16, "height": 128, "width": 128}


@pytest.fixture
def fresh():
    """OpenVINO as a new process has it."""
    for one in (backend._openvino, backend._core):
        one.cache_clear()
    yield
    for one in (backend._openvino, backend._core):
        one.cache_clear()


def feeds_of(graph):
    random = np.random.default_rng(0)
    feeds = {}
    for spec in graph.inputs:
        shape = [LENGTHS.get(one, 2) if isinstance(one, str) else one for one in spec.shape]
        if spec.dtype == "float32":
            feeds[spec.name] = random.normal(size=shape).astype(np.float32)
        else:
            most = 1 if spec.name == "position" else 60
            feeds[spec.name] = random.integers(0, most, shape).astype(spec.dtype)
    return feeds


@needs_openvino
@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        (DEFAULT_BUNDLE, 1e-5),
        ("pocket-captioner", 1e-5),
        ("pocket-clip", 1e-5),
        # In fp16, which ONNX Runtime rounds to and OpenVINO leaves out.
        ("pocket-ash", 2e-3),
    ],
)
def test_every_graph_computes_what_onnx_runtime_does(name, tolerance):
    bundle = Runtime().bundle(name)
    for role, graph in bundle.manifest.graphs.items():
        feeds = feeds_of(graph)
        with runner_from_bundle(bundle, role, CPU, ONE_THREAD) as runner:
            expected = runner.run(feeds)
        with runner_from_bundle(bundle, role, OPENVINO, ONE_THREAD) as runner:
            found = runner.run(feeds)
        assert set(found) == set(expected)
        for output, values in expected.items():
            assert found[output].dtype == values.dtype
            bound = tolerance * np.abs(values).max()
            np.testing.assert_allclose(found[output], values, atol=bound, rtol=0, err_msg=role)


@needs_openvino
def test_captions_are_the_same_with_the_captioners_caches():
    files = sorted((shipped_dir() / "samples" / "pocket").glob("*.png"))
    images = [image_from_bytes(path.read_bytes()).pixels for path in files]
    assert images
    texts = []
    for device in ("cpu", "openvino:cpu:f32"):
        with Runtime(device, threads=1).open(Captioner, "pocket-captioner") as captioner:
            texts.append([one.text for one in captioner.captions(images)])
    assert texts[0] == texts[1]


@needs_openvino
def test_fingerprints_stay_in_f32_on_all_threads_at_once():
    bundle = Runtime().bundle(DEFAULT_BUNDLE)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 300, 300, 3), np.uint8)
    asked, options = Device(DeviceKind.OPENVINO, precision="bf16"), RuntimeOptions(threads=2)
    with FingerprintExtractor(bundle, asked, options) as extractor:
        assert str(extractor.device) == "openvino:cpu:f32"
        assert extractor._runner._graph.get_property("NUM_STREAMS") == 2
        found = extractor.fingerprints(list(pixels))
    with FingerprintExtractor(bundle, CPU, ONE_THREAD) as extractor:
        np.testing.assert_allclose(found, extractor.fingerprints(list(pixels)), atol=2e-6)


@needs_openvino
def test_threads_are_bounded_and_may_share_a_runner():
    bundle = Runtime().bundle("pocket-captioner")
    graph = bundle.manifest.graphs["vision_encoder"]
    feeds = [feeds_of(graph), {name: one + 1 for name, one in feeds_of(graph).items()}] * 4
    with runner_from_bundle(bundle, "vision_encoder", OPENVINO, ONE_THREAD) as runner:
        assert runner._graph.get_property("INFERENCE_NUM_THREADS") == 1
        alone = [runner.run(one)["cross_keys"] for one in feeds]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda one: runner.run(one)["cross_keys"], feeds))
    np.testing.assert_array_equal(alone, together)


@needs_openvino
def test_arrays_of_any_layout_are_taken_and_left_alone():
    bundle = Runtime().bundle("pocket-captioner")
    feeds = feeds_of(bundle.manifest.graphs["vision_encoder"])
    before = {name: one.copy() for name, one in feeds.items()}
    with runner_from_bundle(bundle, "vision_encoder", OPENVINO, ONE_THREAD) as runner:
        expected = runner.run(feeds)["cross_keys"]
        strided = {name: np.asfortranarray(one) for name, one in feeds.items()}
        np.testing.assert_array_equal(runner.run(strided)["cross_keys"], expected)
        feeds["pixel_values"].flags.writeable = False
        np.testing.assert_array_equal(runner.run(feeds)["cross_keys"], expected)
    np.testing.assert_array_equal(feeds["pixel_values"], before["pixel_values"])


@needs_openvino
def test_a_closed_runner_and_a_broken_graph_say_so(tmp_path):
    bundle = Runtime().bundle(DEFAULT_BUNDLE)
    graph = bundle.manifest.graphs["fingerprint"]
    runner = runner_from_bundle(bundle, "fingerprint", OPENVINO)
    runner.close()
    with pytest.raises(BackendError, match="was closed"):
        runner.run(feeds_of(graph))
    for name in ("graph.onnx", BLOB_NAME):
        broken = tmp_path / name
        broken.write_bytes(b"nothing of the kind" * 100)
        with pytest.raises(BackendError, match=f"{name}: openvino cannot load it: ") as caught:
            OpenVinoRunner(broken, broken, graph, OPENVINO, ONE_THREAD)
        assert "\n" not in caught.value.message


@needs_openvino
def test_what_was_built_is_found_for_the_same_precision_alone(monkeypatch):
    command = ["build", DEFAULT_BUNDLE, "--backend", "openvino"]
    first, again = (CliRunner().invoke(cli, command) for _ in range(2))
    assert "fingerprint: compiled in" in first.stdout, first.output
    assert "fingerprint: cached" in again.stdout
    bundle = Runtime().bundle(DEFAULT_BUNDLE)
    graph = bundle.manifest.graphs["fingerprint"]
    with runner_from_bundle(bundle, "fingerprint", OPENVINO, ONE_THREAD) as runner:
        assert runner._graph.get_property("INFERENCE_NUM_THREADS") == 1
        found = runner.run(feeds_of(graph))
    with runner_from_bundle(bundle, "fingerprint", CPU, ONE_THREAD) as runner:
        expected = runner.run(feeds_of(graph))
    np.testing.assert_allclose(found["fingerprint"], expected["fingerprint"], atol=2e-6)
    loaded = []
    monkeypatch.setattr(opening, "OpenVinoRunner", lambda path, *_: loaded.append(path.name))
    runner_from_bundle(bundle, "fingerprint", OPENVINO)
    assert loaded == [BLOB_NAME]
    monkeypatch.setattr(backend, "with_precision", lambda device: device)
    in_bf16 = openvino_key(graph, Device(DeviceKind.OPENVINO, precision="bf16"), {})
    assert graph_cache().find(in_bf16) is None


@needs_openvino
@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what is mapped")
def test_what_was_built_stays_in_its_file_and_is_let_go_with_the_runner(tmp_path):
    def is_mapped():
        return str(blob) in Path("/proc/self/maps").read_text()

    bundle = Runtime().bundle("pocket-captioner")
    graph = bundle.manifest.graphs["vision_encoder"]
    exported = bundle.graph_path("vision_encoder")
    blob = write_blob(exported, OPENVINO, tmp_path, {})
    runner = OpenVinoRunner(blob, exported, graph, OPENVINO, ONE_THREAD)
    gc.collect()
    assert is_mapped()  # the graph reads weights there and does not hold them itself
    with runner_from_bundle(bundle, "vision_encoder", OPENVINO, ONE_THREAD) as exported:
        expected = exported.run(feeds_of(graph))
    for name, values in runner.run(feeds_of(graph)).items():
        np.testing.assert_array_equal(values, expected[name])
    runner.close()
    assert not is_mapped()


@needs_openvino
def test_sixteen_bits_are_compiled_of_weights_in_sixteen_bits(tmp_path, monkeypatch):
    bundle = Runtime().bundle("pocket-clip")
    graph = bundle.manifest.graphs["image_tower"]
    whole = sum(one.size_bytes for one in graph.weights)
    given = []
    compiled = backend._compiled

    def in_f32(source, device, *rest, **named):  # whatever this processor has
        given.append(source)
        return compiled(source, OPENVINO, *rest, **named)

    monkeypatch.setattr(backend, "with_precision", lambda device: device)
    monkeypatch.setattr(backend, "_compiled", in_f32)
    in_bf16 = Device(DeviceKind.OPENVINO, precision="bf16")
    exported = bundle.graph_path("image_tower")
    blob = write_blob(exported, in_bf16, tmp_path, {})
    assert given[0].suffix == ".xml"
    assert [one.name for one in tmp_path.iterdir()] == [BLOB_NAME]
    assert 0.4 * whole < blob.stat().st_size < 0.6 * whole + 2**19
    found = OpenVinoRunner(blob, exported, graph, in_bf16, ONE_THREAD).run(feeds_of(graph))
    with runner_from_bundle(bundle, "image_tower", CPU, ONE_THREAD) as runner:
        for name, values in runner.run(feeds_of(graph)).items():
            bound = 5e-3 * np.abs(values).max()
            np.testing.assert_allclose(found[name], values, atol=bound, rtol=0)


@needs_openvino
def test_a_generator_is_built_for_its_native_size_and_draws_others_too(tmp_path, caplog):
    bundle = Runtime().bundle("pocket-ash")
    graph = bundle.manifest.graphs["vae_decoder"]
    exported = bundle.graph_path("vae_decoder")
    shapes = native_shapes(bundle.manifest, "vae_decoder")
    assert shapes == {"latents": (1, 4, 32, 32)}
    blob = write_blob(exported, OPENVINO, tmp_path, shapes)
    random = np.random.default_rng(0)
    with (
        OpenVinoRunner(blob, exported, graph, OPENVINO, ONE_THREAD, shapes) as runner,
        runner_from_bundle(bundle, "vae_decoder", CPU, ONE_THREAD) as expected,
        caplog.at_level(logging.INFO),
    ):
        for shape, told in (((1, 4, 32, 32), 0), ((2, 4, 12, 20), 1), ((1, 4, 32, 32), 1)):
            feeds = {"latents": random.normal(size=shape).astype(np.float32)}
            (found,), (right,) = runner.run(feeds).values(), expected.run(feeds).values()
            np.testing.assert_allclose(found, right, atol=2e-3 * np.abs(right).max(), rtol=0)
            assert caplog.text.count("other shapes than it was built for") == told


@pytest.mark.parametrize(
    ("guidance", "inputs", "rows"),
    [
        (0.0, ["latents", "timestep"], 1),
        (7.5, ["latents", "timestep"], 2),
        (7.5, ["latents", "timestep", "guidance_embedding"], 1),
        (7.5, ["latents"], 1),
    ],
)
def test_guidance_doubles_the_rows_of_a_denoiser(guidance, inputs, rows):
    manifest = SimpleNamespace(
        generation=SimpleNamespace(guidance=guidance, native_axes={"rows": 8, "columns": 6}),
        graphs={
            "any": SimpleNamespace(
                inputs=[
                    SimpleNamespace(name=name, shape=("images", 4, "rows", "columns"))
                    for name in inputs
                ]
            )
        },
    )
    assert native_shapes(manifest, "any") == dict.fromkeys(inputs, (rows, 4, 8, 6))


@needs_openvino
def test_text_encoders_stay_with_onnx_runtime_on_a_processor(monkeypatch):
    bundle = Runtime().bundle("pocket-ash")
    monkeypatch.setattr(opening, "OpenVinoRunner", lambda path, *_: path.stem)
    monkeypatch.setattr(
        opening,
        "runner_from_onnx",
        lambda path, device, options: f"{device} {path.stem} {options.uses_arena}",
    )
    gpu = Device(DeviceKind.OPENVINO_GPU, precision="f32")
    monkeypatch.setattr(
        opening, "openvino_key", lambda graph, *_: openvino_key(graph, OPENVINO, {})
    )
    opened = {
        str(device): {
            role: runner_from_bundle(bundle, role, device) for role in bundle.manifest.graphs
        }
        for device in (OPENVINO, gpu)
    }
    assert opened["openvino:cpu:f32"]["text_encoder"] == "cpu text_encoder False"
    assert opened["openvino:gpu:f32"]["text_encoder"] == "text_encoder"
    assert {one["unet"] for one in opened.values()} == {"unet"}


def test_options_of_tensorrt_are_refused():
    result = CliRunner().invoke(
        cli, ["build", DEFAULT_BUNDLE, "--backend", "openvino", "--batch", "2"]
    )
    assert result.exit_code == 2
    assert "--batch: of TensorRT only" in result.stderr


def stand_in(monkeypatch, *, capabilities, devices=("CPU",), taken="f32"):
    """A machine of another kind."""
    graph = SimpleNamespace(
        get_property=lambda _: SimpleNamespace(get_type_name=lambda: taken),
        create_infer_request=None,
    )
    core = SimpleNamespace(
        available_devices=list(devices),
        get_property=lambda *_: list(capabilities),
        read_model=lambda source: source,
        compile_model=lambda *_: graph,
    )
    monkeypatch.setattr(backend, "_core", lambda: core)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [(["FP32", "INT8", "BF16", "FP16"], "bf16"), (["FP32", "FP16"], "f32"), (["FP16"], "f16")],
)
def test_bf16_is_taken_where_the_device_has_it_and_said(
    monkeypatch, caplog, capabilities, expected
):
    stand_in(monkeypatch, capabilities=capabilities, taken=expected)
    with caplog.at_level(logging.INFO):
        device, _ = options_for_device("openvino", 1)
    assert str(device) == f"openvino:cpu:{expected}"
    assert str(device) in caplog.text
    assert device.reduced_precision == ("" if expected == "f32" else expected)


def test_less_than_f32_is_a_run_of_its_own_and_never_compared_with_stored_numbers(monkeypatch):
    runtime = Runtime()
    runtime.place = (Device(DeviceKind.OPENVINO, precision="bf16"), ONE_THREAD)
    with open_resynthesis_models(
        open_lineup("pocket"), None, runtime=runtime, keep=False
    ) as models:
        assert models.digests[-1] == "bf16"
    monkeypatch.setattr(reference, "REFERENCE_BUNDLE", "pocket-clip")
    with reference.open_reference_encoder(runtime) as encoder:
        assert str(encoder._encoder.device) == "openvino:cpu:f32"


def test_a_precision_that_is_not_there_is_an_error(monkeypatch):
    stand_in(monkeypatch, capabilities=["FP32"])
    with pytest.raises(DeviceUnavailableError, match="computes in f32 by OpenVINO, not in bf16"):
        options_for_device("openvino:cpu:bf16", 1)
    stand_in(monkeypatch, capabilities=["FP32", "BF16"], taken="f32")
    with pytest.raises(DeviceUnavailableError, match="OpenVINO computes in f32"):
        options_for_device("openvino:cpu:bf16", 1)


@pytest.mark.parametrize("text", ["openvino:gpu", "openvino:npu:f16"])
def test_a_device_that_is_not_there_is_an_error(monkeypatch, text):
    stand_in(monkeypatch, capabilities=["FP32"])
    unit = text.split(":")[1].upper()
    with pytest.raises(DeviceUnavailableError, match=f"finds no {unit} here, only CPU"):
        options_for_device(text, 1)


def test_one_of_several_gpus_will_do(monkeypatch):
    stand_in(monkeypatch, capabilities=["FP32"], devices=["CPU", "GPU.0", "GPU.1"])
    assert with_precision(Device(DeviceKind.OPENVINO_GPU)).precision == "f32"


@pytest.mark.usefixtures("fresh")
def test_without_the_package_there_is_one_clear_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "openvino", None)
    image = str(shipped_dir() / "samples" / "pocket" / "ash.png")
    monkeypatch.setattr(sys, "argv", ["lineup", "caption", image, "--device", "openvino"])
    with pytest.raises(SystemExit) as caught:
        main()
    told = capsys.readouterr().err
    assert caught.value.code == 2
    assert "not usable here: openvino cannot be imported" in told
    assert "lineup-forensics[openvino]" in told.splitlines()[0]


@needs_openvino
def test_threads_may_run_the_first_graph_of_a_process_at_once(tmp_path):
    """OpenVINO's own first use of a table would hold them for ever, nearly every time."""
    program = (
        "import io, sys, threading\n"
        "import numpy as np\n"
        "from lineup.backends import openvino as backend\n"
        "from lineup.backends.device import device_from_text\n"
        "from lineup.backends.onnxrt import IDENTITY_GRAPH, RuntimeOptions\n"
        "sys.setswitchinterval(1e-6)\n"
        "device = backend.with_precision(device_from_text('openvino'))\n"
        "graph = backend._compiled(io.BytesIO(IDENTITY_GRAPH), device, RuntimeOptions())\n"
        "together = threading.Barrier(8)\n"
        "def run():\n"
        "    request, values = graph.create_infer_request(), np.zeros(1, np.float32)\n"
        "    together.wait()\n"
        "    request.infer({'x': values}, share_inputs=True)\n"
        "threads = [threading.Thread(target=run) for _ in range(8)]\n"
        "[one.start() for one in threads]\n"
        "[one.join() for one in threads]\n"
    )
    variables = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], env=variables, check=True, timeout=60)


@needs_openvino
def test_nobody_is_told_that_openvino_was_loaded(tmp_path):
    program = (
        "import sys\n"
        "from lineup.runtime import Runtime\n"
        "Runtime('openvino').place\n"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry')]\n"
        "import openvino_telemetry\n"  # whoever wants it still has it
    )
    variables = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    variables.pop("CI", None)
    subprocess.run([sys.executable, "-c", program], env=variables, check=True)
    assert not (tmp_path / "intel").exists()
