from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lineup.errors import BundleFormatError, UsageError
from lineup.models.schedulers.samplers import scheduler_from_manifest
from lineup_models.recipes.read import FOLDER, all_recipes, open_recipe, recipe_names
from lineup_models.recipes.recipe import RecipeKind, TextStates, TokenizerFamily

PUBLIC = {
    RecipeKind.CAPTIONER: {"blip-base", "blip-large", "vit-gpt2"},
    RecipeKind.ENCODER: {"clip-vit-b-32", "clip-vit-l-14", "clip-vit-l-14-336"},
    RecipeKind.GENERATOR: {
        "bk-sdm-base",
        "bk-sdm-small",
        "bk-sdm-tiny",
        "hyper-sd15-1step",
        "hyper-sdxl-1step",
        "lcm-dreamshaper-v7",
        "sd-turbo",
        "sd15-lcm-lora",
        "sdxl-turbo",
        "sdxs-512",
        "segmind-tiny-sd",
        "ssd-1b",
    },
}


@pytest.mark.parametrize("kind", RecipeKind)
def test_the_public_models_have_recipes(kind: RecipeKind) -> None:
    assert {recipe.name for recipe in all_recipes() if recipe.kind is kind} == PUBLIC[kind]


@pytest.mark.parametrize("name", sorted(PUBLIC[RecipeKind.GENERATOR]))
def test_the_runtime_takes_the_scheduler_of_every_generator(name: str) -> None:
    recipe = open_recipe(name)

    assert recipe.generation is not None
    scheduler = scheduler_from_manifest(recipe.scheduler, recipe.generation.steps)
    assert len(scheduler.timesteps) == recipe.generation.steps


def test_text_encoders_are_fed_and_read_as_the_model_was_trained() -> None:
    texts = [part for part in open_recipe("sdxl-turbo").components if part.tokenizer]

    assert [part.tokenizer for part in texts] == [TokenizerFamily.CLIP] * 2
    assert {part.states for part in texts} == {TextStates.PENULTIMATE}
    # The second tokenizer of SDXL fills up with "!", the first with its end of text.
    assert [part.pad_token_id for part in texts] == [49407, 0]


def test_a_component_may_change_its_architecture() -> None:
    plain = open_recipe("sd15-lcm-lora").component("unet").architecture.config
    changed = open_recipe("lcm-dreamshaper-v7").component("unet").architecture.config

    assert "time_cond_proj_dim" not in plain
    assert changed["time_cond_proj_dim"] == 256
    assert changed["block_out_channels"] == plain["block_out_channels"]


def test_an_unknown_name_is_answered_with_the_closest() -> None:
    with pytest.raises(UsageError, match="no recipe 'sd-turbi'") as caught:
        open_recipe("sd-turbi")
    assert caught.value.hint == "Did you mean 'sd-turbo'?"


ENCODER = (FOLDER / "clip-vit-b-32.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('licence = "MIT"\n', "", "licence: missing"),
        ('licence = "MIT"', "licence = 3", "licence: expected str, got 3"),
        ('kind = "encoder"', 'kind = "decoder"', "kind: expected one of captioner"),
        ("title = ", "titel = ", "title: missing, but required; unknown field titel"),
        ("default_layer = 6", 'default_layer = "6"', "encoder.default_layer: expected int"),
        ('architecture = "clip-vision-b-32"', 'architecture = "x"', "there is no x.toml"),
        ('part = "model"', 'part = "unet"', r"components: expected \['model'\] once each"),
        (
            "schema_version = 1",
            "schema_version = 2",
            "schema_version is 2, but this lineup",
        ),
        ("[encoder]\ndefault_layer = 6", "", "encoder: missing; a recipe of kind encoder needs"),
        ('name = "clip-vit-b-32"', 'name = "other"', "name: expected 'clip-vit-b-32'"),
        ("[encoder]", "[encoder", "not TOML"),
    ],
)
def test_a_broken_recipe_is_refused_with_file_and_field(
    before: str, after: str, message: str, tmp_path: Path
) -> None:
    assert before in ENCODER
    (tmp_path / "clip-vit-b-32.toml").write_text(ENCODER.replace(before, after), encoding="utf-8")
    (tmp_path / "architectures").symlink_to(FOLDER / "architectures")

    with pytest.raises(BundleFormatError, match=message) as caught:
        open_recipe("clip-vit-b-32", folder=tmp_path)
    assert "clip-vit-b-32.toml" in caught.value.message


def test_reading_recipes_loads_no_torch() -> None:
    code = (
        "import sys; from lineup_models.recipes.read import all_recipes; all_recipes();"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'transformers')))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_names_are_those_of_the_files() -> None:
    assert set(recipe_names()) == set().union(*PUBLIC.values())
