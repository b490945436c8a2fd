from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from lineup.errors import UsageError
from lineup.models.generator import ImageGenerator, SynthesisOptions
from lineup.models.noise import noise_from_seed
from lineup.runtime import Runtime
from lineup_export.component import ExportOptions
from lineup_export.public.defaults import recipe_from_folder
from lineup_export.public.folder import FolderSource, local_origin
from lineup_export.public.request import ExportRequest, bundle_from_model, model_from_request
from lineup_export.public.source import RandomSource
from lineup_export.public.tokenizer_files import spelling_tokenizer
from lineup_models.recipes.read import open_recipe
from lineup_models.recipes.recipe import Recipe, RecipeKind, TextStates, TokenizerFamily

SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    "timestep_spacing": "trailing",
    "steps_offset": 1,
}
SEED = 7


@pytest.fixture(scope="module")
def pipeline() -> Any:
    """A tiny Stable Diffusion 2.1 of diffusers with the weights of tiny SD-Turbo."""
    import diffusers
    from transformers import CLIPTokenizerFast

    source = RandomSource(open_recipe("sd-turbo"), is_tiny=True)
    parts = {part: source.module(part, torch.float32) for part in ("text_encoder", "unet", "vae")}
    tokenizer = CLIPTokenizerFast(
        tokenizer_object=Tokenizer.from_str(spelling_tokenizer(TokenizerFamily.CLIP)),
        pad_token="!",
        model_max_length=77,
    )
    return diffusers.StableDiffusionPipeline(
        **parts,
        tokenizer=tokenizer,
        scheduler=diffusers.EulerDiscreteScheduler(**SCHEDULER),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@pytest.fixture(scope="module")
def saved(pipeline: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "tiny-turbo"
    pipeline.save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers.*")
def test_a_saved_pipeline_makes_the_same_images(pipeline: Any, saved: Path, tmp_path: Path) -> None:
    model = model_from_request(
        ExportRequest(RecipeKind.GENERATOR, str(saved), "hub"), ExportOptions().precision
    )
    bundle_from_model(model, tmp_path / "bundle", ExportOptions())

    with Runtime("cpu", threads=1).open(ImageGenerator, tmp_path / "bundle") as generator:
        width, height = generator.info.native_width_px, generator.info.native_height_px
        found = generator.images("a red cat", [SEED], SynthesisOptions())[0]

    cells = (4, height // 8, width // 8)
    noise = torch.from_numpy(noise_from_seed(SEED, cells))[None]
    sigma = float(pipeline.scheduler.init_noise_sigma)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        "a red cat",
        latents=noise,
        num_inference_steps=1,
        guidance_scale=0.0,
        output_type="np",
        height=height,
        width=width,
    ).images[0]
    assert sigma > 1
    assert np.abs(found.astype(np.float64) - 255 * expected).max() <= 1


def recipe_of(folder: Path) -> Recipe:
    source = FolderSource(folder, local_origin(folder))
    return recipe_from_folder(source, RecipeKind.GENERATOR, folder.name, "NOASSERTION")


def test_the_folder_says_how_the_model_is_run(saved: Path) -> None:
    recipe = recipe_of(saved)

    run = recipe.generation
    assert (run.steps, run.guidance, run.vae_family) == (1, 0.0, "sd-kl-f8")
    assert (run.native_width_px, run.native_height_px) == (512, 512)
    assert recipe.scheduler["type"] == "one-step"
    text = recipe.component("text_encoder")
    assert (text.states, text.pad_token_id) == (TextStates.LAST, 0)
    assert [item.part for item in recipe.components if item.tokenizer] == ["text_encoder"]
    assert recipe.hub_id == "tiny-turbo"


def test_other_solvers_give_way_to_ddim(saved: Path, tmp_path: Path) -> None:
    folder = copied_configs(saved, tmp_path)
    path = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text()) | {"_class_name": "PNDMScheduler"}
    path.write_text(json.dumps({**config, "timestep_spacing": "leading"}))

    recipe = recipe_of(folder)

    assert recipe.scheduler["type"] == "ddim"
    assert (recipe.generation.steps, recipe.generation.guidance) == (25, 7.5)


def test_a_scheduler_that_the_runtime_lacks_is_named(saved: Path, tmp_path: Path) -> None:
    folder = copied_configs(saved, tmp_path)
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text('{"_class_name": "FlowMatchEulerDiscreteScheduler"}')

    with pytest.raises(UsageError, match="FlowMatchEulerDiscreteScheduler, which the runtime"):
        recipe_of(folder)


def test_pickled_weights_are_refused_by_name(saved: Path, tmp_path: Path) -> None:
    folder = copied_configs(saved, tmp_path)
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04")
    source = FolderSource(folder, local_origin(folder))

    with pytest.raises(UsageError, match=r"pickled weights only \(diffusion_pytorch_model.bin\)"):
        source.module("unet", torch.float32)
    with pytest.raises(UsageError, match=r"holds no \*\.safetensors"):
        source.module("vae", torch.float32)


def test_an_export_that_finds_pickles_leaves_nothing(saved: Path, tmp_path: Path) -> None:
    folder = copied_configs(saved, tmp_path)
    (folder / "text_encoder" / "pytorch_model.bin").write_bytes(b"\x80\x04")
    request = ExportRequest(RecipeKind.GENERATOR, str(folder), "hub")
    model = model_from_request(request, ExportOptions().precision)

    with pytest.raises(UsageError, match="pickled weights only"):
        bundle_from_model(model, tmp_path / "out" / "bundle", ExportOptions())
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "sd-turbi"}, "no recipe 'sd-turbi'"),
        ({"model": "blip-base"}, "blip-base is a recipe of kind captioner, not generator"),
        ({"model": "sd-turbo"}, "LicenseRef-stabilityai-community, which has conditions"),
        ({"model": "someone/something"}, "its architecture is not known here"),
        ({"model": "no/such/folder", "weights": "hub"}, "no folder 'no/such/folder'"),
        ({"model": "sd-turbo", "weights": "hub", "tiny": True}, "Only random weights can be"),
        ({"model": "sd-turbo", "weights": "random", "name": "a b"}, "'a b' cannot be the name"),
    ],
)
def test_what_cannot_be_exported_is_said(changes: Mapping[str, Any], message: str) -> None:
    weights = "random" if changes["model"] == "someone/something" else "hub"
    asked = {"kind": RecipeKind.GENERATOR, "weights": weights, **changes}

    with pytest.raises(UsageError, match=message):
        model_from_request(ExportRequest(**asked), ExportOptions().precision)


def test_a_folder_of_neither_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"neither model_index\.json nor config\.json"):
        local_origin(tmp_path)


def test_a_hub_out_of_reach_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def offline(*_: object, **__: object) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("no connection\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    request = ExportRequest(RecipeKind.CAPTIONER, "blip-base", "hub")

    with pytest.raises(UsageError, match="cannot be had from the hub: no connection\n") as caught:
        model_from_request(request, ExportOptions().precision)
    assert "and more" not in str(caught.value)
    assert "--weights random" in str(caught.value)


def copied_configs(saved: Path, tmp_path: Path) -> Path:
    """Copy a saved pipeline without its weights."""
    folder = tmp_path / "copy"
    for path in saved.rglob("*"):
        if path.is_file() and path.suffix != ".safetensors":
            target = folder / path.relative_to(saved)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return folder
