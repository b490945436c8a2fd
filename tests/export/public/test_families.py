"""One recipe of every family, exported once: manifests, captions, engines of NVIDIA's builder.

They are in one file so that workers that share the suite do not export the same twice.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from lineup.backends.building import build_with_tensorrt
from lineup.backends.device import Device, DeviceKind
from lineup.backends.graph_cache import GraphCache
from lineup.backends.onnxrt import runner_from_onnx
from lineup.backends.tensorrt.api import Flavour, api_from_flavour
from lineup.backends.tensorrt.builder import BuildOptions, Range
from lineup.bundles.bundle import open_bundle
from lineup.bundles.manifest import Origin, Precision
from lineup.models.caption_search import CachedDecoder, SearchOptions, search
from lineup_export.assembly import ExportedBundle
from lineup_export.cli import export
from lineup_export.public.source import RandomSource
from lineup_models.recipes.read import all_recipes, open_recipe
from lineup_models.recipes.recipe import Recipe

ExportTiny = Callable[..., ExportedBundle]

TOWERS = ["image_tower_cut", "image_tower"]
CAPTIONER = ["vision_encoder", "text_decoder"]
SD = ["text_encoder", "unet", "vae_decoder", "vae_encoder"]
SDXL = ["text_encoder", "text_encoder_2", "unet", "vae_decoder", "vae_encoder"]

pytestmark = pytest.mark.slow

ROLES = {"clip-vit-b-32": TOWERS, "blip-base": CAPTIONER, "vit-gpt2": CAPTIONER}
ROLES |= {"sdxl-turbo": SDXL, "ssd-1b": SDXL}


def check(exported: ExportedBundle, precision: Precision, roles: list[str]) -> None:
    manifest = open_bundle(exported.bundle.path).manifest
    assert list(manifest.graphs) == roles
    assert manifest.source.origin is Origin.RANDOM
    assert manifest.precision is precision
    limit = 2e-4 if precision is Precision.FP32 else 2e-2
    for role, graph in manifest.graphs.items():
        assert 0 < graph.parity.value <= limit, role
        assert {spec.dtype for spec in (*graph.inputs, *graph.outputs)} <= {"float32", "int64"}


def test_every_family_exports_with_random_weights(family: str, export_tiny: ExportTiny) -> None:
    check(export_tiny(family, Precision.FP16), Precision.FP16, ROLES.get(family, SD))


@pytest.mark.parametrize("name", ["blip-base", "vit-gpt2"])
def test_single_precision_too(name: str, export_tiny: ExportTiny) -> None:
    """A generator's makes diffusers' pictures in `test_folder`."""
    check(export_tiny(name, Precision.FP32), Precision.FP32, ROLES.get(name, SD))


def kinds_of_layers(recipe: Recipe) -> set[tuple[str, str, str]]:
    """Return component, layer and layer inside it, of all there are at tiny size."""
    source = RandomSource(recipe, is_tiny=True)
    return {
        (
            component.architecture.class_name.rpartition(".")[2],
            type(parent).__name__,
            type(child).__name__,
        )
        for component in recipe.components
        for parent in source.module(component.part, torch.float32).modules()
        for child in parent.children()
    }


def test_the_families_have_every_kind_of_layer_of_all_recipes(families: tuple[str, ...]) -> None:
    known = set().union(*(kinds_of_layers(open_recipe(name)) for name in families))

    missing = {r.name: kinds_of_layers(r) - known for r in all_recipes() if r.name not in families}

    assert {name: kinds for name, kinds in missing.items() if kinds} == {}


def test_known_hazards_keep_their_islands_whatever_random_weights_show(
    export_tiny: ExportTiny,
) -> None:
    turbo = {r.role: r.islands for r in export_tiny("sd-turbo", Precision.FP16).reports}
    sdxl = {r.role: r.islands for r in export_tiny("sdxl-turbo", Precision.FP16).reports}

    assert turbo["unet"] == ("attention", "norms")
    assert sdxl["vae_decoder"] == ("everything",)
    assert sdxl["unet"] == ("norms",)


def test_what_a_denoiser_takes_stands_in_its_graph(export_tiny: ExportTiny) -> None:
    def inputs(name: str, precision: Precision) -> list[str]:
        graphs = export_tiny(name, precision).bundle.manifest.graphs
        return [spec.name for spec in graphs["unet"].inputs]

    plain = ["latents", "timestep", "text_states"]
    assert inputs("sd-turbo", Precision.FP16) == plain
    assert inputs("lcm-dreamshaper-v7", Precision.FP16) == [*plain, "guidance_embedding"]
    assert inputs("sdxl-turbo", Precision.FP16) == [*plain, "pooled", "time_ids"]


def test_siblings_share_the_files_of_their_autoencoder(export_tiny: ExportTiny) -> None:
    def files(name: str) -> set[str]:
        graph = export_tiny(name, Precision.FP16).bundle.manifest.graphs["vae_decoder"]
        return {record.sha256 for record in (graph.file, *graph.weights)}

    assert open_recipe("bk-sdm-tiny").generation.vae_family == "sd-kl-f8"
    assert files("bk-sdm-tiny") == files("lcm-dreamshaper-v7")


MAX_TOKENS = 20


def reference_tokens(name: str, pixels: torch.Tensor, beams: int) -> list[list[int]]:
    """Return what transformers generates, the first token left out."""
    model: Any = RandomSource(open_recipe(name), is_tiny=True).module("model", torch.float32)
    options = {"num_beams": beams, "max_length": MAX_TOKENS, "do_sample": False}
    with torch.no_grad():
        if name == "blip-base":
            found = model.generate(pixel_values=pixels, **options)
        else:
            found = model.generate(pixels, **options)
    return [row[1:] for row in found.tolist()]


@pytest.mark.parametrize("name", ["blip-base", "vit-gpt2"])
@pytest.mark.parametrize("beams", [1, 3])
def test_captions_are_those_of_generate(
    name: str, beams: int, export_tiny: Callable[..., ExportedBundle]
) -> None:
    bundle = export_tiny(name).bundle
    info = bundle.manifest.captioner
    assert info is not None
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = reference_tokens(name, pixels, beams)
    device = Device(DeviceKind.CPU)

    with (
        runner_from_onnx(bundle.graph_path("vision_encoder"), device) as vision,
        runner_from_onnx(bundle.graph_path("text_decoder"), device) as text,
    ):
        cross = vision.run({"pixel_values": pixels.numpy()})
        decoder = CachedDecoder(text, info, cross["cross_keys"], cross["cross_values"])
        options = SearchOptions(
            end_id=info.eos_token_id,
            pad_id=info.pad_token_id,
            max_new_tokens=MAX_TOKENS - 1,
            beams=beams,
        )
        found = search(decoder, [info.bos_token_id], 2, options)

    ends = {info.eos_token_id, info.pad_token_id}
    for hypothesis, row in zip(found, expected, strict=True):
        assert [token for token in hypothesis.tokens if token not in ends] == [
            token for token in row if token not in ends
        ]
    assert all(np.isfinite(hypothesis.log_probability) for hypothesis in found)


def test_every_graph_of_a_family_builds(
    family: str, export_tiny: ExportTiny, tmp_path: Path
) -> None:
    """No GPU is needed to parse and to build."""
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    bundle = export_tiny(family, Precision.FP16).bundle
    options = BuildOptions(Flavour.RTX, compute_capability=(8, 6), batch=Range(1, 2, 4))

    built = list(
        build_with_tensorrt(bundle, api_from_flavour(Flavour.RTX), options, GraphCache(tmp_path))
    )

    assert [one.role for one in built] == list(bundle.manifest.graphs)
    assert all(one.compiled.path.stat().st_size > 1000 for one in built)


PATIENCE_S = 240.0


def wait_for_graph(folder: Path, child: subprocess.Popen[bytes]) -> None:
    """Return when the first graph is staged in `folder`."""
    deadline = time.monotonic() + PATIENCE_S
    while not list(folder.glob(".bundle.*/new/*.onnx")):
        assert child.poll() is None, "the export ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_killed_export_leaves_no_half_bundle_and_the_next_cleans_up(tmp_path: Path) -> None:
    """Here, because what the next one traces is traced already."""
    target = tmp_path / "bundle"
    arguments = ["encoder", "clip-vit-b-32", "--weights", "random", "--tiny", "--precision", "fp16"]
    arguments += ["--output", str(target)]
    command = [sys.executable, "-m", "lineup", "export", *arguments]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        wait_for_graph(tmp_path, child)
        child.kill()
        assert child.wait(30) == -signal.SIGKILL

    assert not target.exists()
    assert list(tmp_path.glob(".bundle.*/new/*.onnx")), "nothing was staged when it was killed"

    result = CliRunner().invoke(export, arguments)

    assert result.exit_code == 0, result.output
    assert list(open_bundle(target).manifest.graphs) == ["image_tower_cut", "image_tower"]
    assert [child.name for child in tmp_path.iterdir()] == ["bundle"]
