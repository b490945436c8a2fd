from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt import runner_from_onnx
from lineup.bundles.bundle import open_bundle
from lineup.bundles.manifest import BundleKind, Origin, Precision
from lineup.errors import UsageError
from lineup.models.schedulers.samplers import scheduler_from_manifest
from lineup_export.cli import export
from lineup_export.component import ExportOptions
from lineup_export.pocket import SCHEDULER, bundle_from_pocket
from lineup_models.pocket import registry
from lineup_models.pocket.architectures import GeneratorSpec
from lineup_models.pocket.blocks import BlockKind, DownKind, NormKind, UpKind
from lineup_models.pocket.captioner import Captioner, CaptionerSpec
from lineup_models.pocket.clip import Clip, ClipSpec
from lineup_models.pocket.generator import Generator
from lineup_models.pocket.registry import write_model
from lineup_models.pocket.text import LENGTH, TextEncoderSpec
from lineup_models.pocket.unet import UNetSpec
from lineup_models.pocket.vae import Vae, VaeSpec

TEXT = TextEncoderSpec(dimension=8, blocks=1, heads=2)
CLIP = ClipSpec(size_px=32, dimension=8, blocks=2, heads=2, stem=(4, 4), middle=1, text=TEXT)
CAPTIONER = CaptionerSpec(
    size_px=64, stem=(4, 8, 8, 8), depthwise_blocks=1, dimension=8, layers=2, heads=2
)
VAE = VaeSpec(
    latent_channels=4,
    encoder_widths=(4, 8),
    decoder_widths=(8, 4),
    blocks=(1, 1),
    up=UpKind.BILINEAR,
    down=DownKind.AVERAGE,
    norm=NormKind.LAYER,
)
UNET = UNetSpec(
    latent_channels=4,
    widths=(8, 8),
    blocks=(1, 1),
    attention=(1,),
    self_attention=(1,),
    text_dimension=8,
    up=UpKind.PIXEL_SHUFFLE,
    down=DownKind.PIXEL_UNSHUFFLE,
    norm=NormKind.RMS,
    block=BlockKind.DEPTHWISE,
    heads=2,
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `lineup train pocket` leaves, of tiny models."""
    folder = tmp_path_factory.mktemp("pocket")
    torch.manual_seed(0)
    words = registry.words()
    generator = Generator(GeneratorSpec("fern", UNET, TEXT), words)
    torch.nn.init.normal_(generator.unet.output.weight)
    vae = Vae(VAE)
    vae.set_statistics(0.5, 0.25)
    models: dict[str, registry.Model] = {
        "clip": Clip(CLIP, words),
        "captioner": Captioner(CAPTIONER, words),
        "vae-fern": vae,
        "pocket-ash": generator,
    }
    for name, model in models.items():
        write_model(registry.weights_path(folder, name), model, {"n": 3})
    tokenizer = registry.load_tokenizer(None).to_str()
    (folder / registry.TOKENIZER_NAME).write_text(tokenizer, encoding="utf-8")
    return folder


def test_the_clip_has_a_whole_and_a_cut_tower(checkpoint: Path, tmp_path: Path) -> None:
    exported = bundle_from_pocket(checkpoint, "pocket-clip", tmp_path / "b", ExportOptions())

    bundle = open_bundle(tmp_path / "b")
    info = bundle.manifest.encoder
    assert info is not None
    assert (info.layers, info.default_layer, info.dimension) == ((1, 2), 1, 8)
    assert bundle.manifest.source.origin is Origin.TRAINED
    assert all(report.parity.value < 1e-5 for report in exported.reports)
    pixels = np.random.default_rng(0).uniform(-1, 1, (3, 3, 32, 32)).astype(np.float32)
    device = Device(DeviceKind.CPU)
    with (
        runner_from_onnx(bundle.graph_path("image_tower"), device) as tower,
        runner_from_onnx(bundle.graph_path("image_tower_cut"), device) as cut,
    ):
        whole = tower.run({"pixel_values": pixels})
        np.testing.assert_allclose(
            cut.run({"pixel_values": pixels})["cls"][:, 0], whole["cls"][:, 0], atol=1e-5
        )
    assert whole["embedding"].shape == (3, info.embedding_dimension)


def test_the_captioner_steps_through_its_cache(checkpoint: Path, tmp_path: Path) -> None:
    bundle_from_pocket(checkpoint, "pocket-captioner", tmp_path / "b", ExportOptions())

    manifest = open_bundle(tmp_path / "b").manifest
    assert manifest.captioner is not None
    assert manifest.tokenizer == "tokenizer.json"
    shape = ("sequences", 2, 2, manifest.captioner.max_tokens, 4)
    specs = {spec.name: spec.shape for spec in manifest.graphs["text_decoder"].inputs}
    assert specs["past_keys"] == shape
    assert specs["position"] == (1,)


def test_a_generator_takes_latents_of_any_size(checkpoint: Path, tmp_path: Path) -> None:
    options = ExportOptions(precision=Precision.FP16)
    exported = bundle_from_pocket(checkpoint, "pocket-ash", tmp_path / "b", options)

    bundle = open_bundle(tmp_path / "b")
    assert bundle.manifest.kind is BundleKind.GENERATOR
    info = bundle.manifest.generation
    assert info is not None
    assert (info.latent_factor, info.latent_shift, info.latent_scaling) == (2, 0.5, 2.0)
    assert info.vae_family == "pocket-fern"
    assert bundle.manifest.source.details["n"] == 3
    assert [report.role for report in exported.reports] == list(bundle.manifest.graphs)
    feeds = {
        "latents": np.ones((1, 4, 6, 10), np.float32),
        "timestep": np.full(1, 999, np.float32),
        "text_states": np.ones((1, LENGTH, 8), np.float32),
    }
    with runner_from_onnx(bundle.graph_path("unet"), Device(DeviceKind.CPU)) as runner:
        assert runner.run(feeds)["prediction"].shape == (1, 4, 6, 10)


def test_int8_compresses_denoiser_and_text_encoder_alone(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineup_export.compression.LEAST_WEIGHTS", 32)
    options = ExportOptions(precision=Precision.INT8)
    bundle = bundle_from_pocket(checkpoint, "pocket-ash", tmp_path / "b", options).bundle

    assert open_bundle(bundle.path).manifest.precision is Precision.INT8
    kinds = {
        role: {node.op_type for node in onnx.load(bundle.graph_path(role)).graph.node}
        for role in bundle.manifest.graphs
    }
    compressed = [role for role, found in kinds.items() if "DequantizeLinear" in found]
    assert compressed == ["text_encoder", "unet"]
    assert 1e-5 < bundle.manifest.graphs["unet"].parity.value < 5e-2


def test_what_int8_does_not_compress_is_not_called_int8(checkpoint: Path, tmp_path: Path) -> None:
    options = ExportOptions(precision=Precision.INT8)

    with pytest.raises(UsageError, match="pocket-clip cannot be exported in int8"):
        bundle_from_pocket(checkpoint, "pocket-clip", tmp_path / "b", options)

    assert not list(tmp_path.iterdir())


def test_one_step_leads_from_unit_noise_to_the_prediction() -> None:
    scheduler = scheduler_from_manifest(SCHEDULER, 1)
    noise, prediction = np.random.default_rng(0).normal(size=(2, 1, 4, 8, 8)).astype(np.float32)

    assert scheduler.timesteps.tolist() == [999]
    assert float(scheduler.initial_scale) == 1
    np.testing.assert_array_equal(scheduler.model_input(noise, 0), noise)
    np.testing.assert_array_equal(scheduler.previous(prediction, noise, 0), prediction)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Name a CHECKPOINT"),
        (["--weights", "random", "--model", "pocket-oak"], "no pocket model 'pocket-oak'"),
        (["--weights", "random", "--precision", "fp8"], "'fp8' is not one or several of"),
    ],
)
def test_wrong_usage_is_said(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(export, ["pocket", *arguments, "--output", str(tmp_path)])

    assert result.exit_code == 2
    assert message in result.output


def test_several_precisions_get_folders_of_their_own(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, str]] = []
    monkeypatch.setattr(
        "lineup_export.pocket.bundle_from_pocket",
        lambda _, name, target, options, __: made.append(
            (str(target.relative_to(tmp_path)), options.precision.value)
        ),
    )
    monkeypatch.setattr("lineup_export.options._echo_report", lambda _: None)
    arguments = [str(checkpoint), "--output", str(tmp_path), "--model", "pocket-clip"]

    result = CliRunner().invoke(export, ["pocket", *arguments, "--precision", "fp32,fp16"])

    assert result.exit_code == 0, result.output
    assert made == [("fp32/pocket-clip", "fp32"), ("fp16/pocket-clip", "fp16")]
