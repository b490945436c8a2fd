from __future__ import annotations

from collections.abc import Callable

import pytest

from lineup.bundles.bundle import open_bundle
from lineup.bundles.manifest import Origin, Precision
from lineup_export.assembly import ExportedBundle
from lineup_models.recipes.read import open_recipe

ExportTiny = Callable[..., ExportedBundle]

SD = ["text_encoder", "unet", "vae_decoder", "vae_encoder"]
SDXL = ["text_encoder", "text_encoder_2", "unet", "vae_decoder", "vae_encoder"]

FAMILIES = [
    ("clip-vit-b-32", Precision.FP32, ["image_tower", "image_tower_cut"]),
    ("blip-base", Precision.FP16, ["vision_encoder", "text_decoder"]),
    ("vit-gpt2", Precision.FP32, ["vision_encoder", "text_decoder"]),
    ("sd-turbo", Precision.FP16, SD),
    ("lcm-dreamshaper-v7", Precision.FP32, SD),
    ("sdxs-512", Precision.FP32, SD),
    ("bk-sdm-tiny", Precision.FP32, SD),
    ("sdxl-turbo", Precision.FP16, SDXL),
    ("ssd-1b", Precision.FP32, SDXL),
]
"""One recipe of every family of architectures; the others differ in sizes only."""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "precision", "roles"), FAMILIES)
def test_every_family_exports_with_random_weights(
    name: str, precision: Precision, roles: list[str], export_tiny: ExportTiny
) -> None:
    exported = export_tiny(name, precision)

    manifest = open_bundle(exported.bundle.path).manifest
    assert list(manifest.graphs) == roles
    assert manifest.source.origin is Origin.RANDOM
    assert manifest.precision is precision
    limit = 2e-4 if precision is Precision.FP32 else 2e-2
    for role, graph in manifest.graphs.items():
        assert 0 < graph.parity.value <= limit, role
        assert {spec.dtype for spec in (*graph.inputs, *graph.outputs)} <= {"float32", "int64"}


@pytest.mark.slow
def test_known_hazards_keep_their_islands_whatever_random_weights_show(
    export_tiny: ExportTiny,
) -> None:
    turbo = {r.role: r.islands for r in export_tiny("sd-turbo", Precision.FP16).reports}
    sdxl = {r.role: r.islands for r in export_tiny("sdxl-turbo", Precision.FP16).reports}

    assert turbo["unet"] == ("attention", "norms")
    assert sdxl["vae_decoder"] == ("everything",)
    assert sdxl["unet"] == ("norms",)


@pytest.mark.slow
def test_what_a_denoiser_takes_stands_in_its_graph(export_tiny: ExportTiny) -> None:
    def inputs(name: str, precision: Precision) -> list[str]:
        graphs = export_tiny(name, precision).bundle.manifest.graphs
        return [spec.name for spec in graphs["unet"].inputs]

    plain = ["latents", "timestep", "text_states"]
    assert inputs("sd-turbo", Precision.FP16) == plain
    assert inputs("lcm-dreamshaper-v7", Precision.FP32) == [*plain, "guidance_embedding"]
    assert inputs("sdxl-turbo", Precision.FP16) == [*plain, "pooled", "time_ids"]


@pytest.mark.slow
def test_siblings_share_the_files_of_their_autoencoder(export_tiny: ExportTiny) -> None:
    def weights(name: str) -> set[str]:
        graph = export_tiny(name, Precision.FP32).bundle.manifest.graphs["vae_decoder"]
        return {record.sha256 for record in graph.weights}

    assert open_recipe("bk-sdm-tiny").generation.vae_family == "sd-kl-f8"
    assert weights("bk-sdm-tiny") == weights("lcm-dreamshaper-v7")
