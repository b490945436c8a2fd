from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lineup.errors import BundleNotFoundError, UsageError
from lineup_models.pocket.architectures import GENERATORS, SIZE_PX, VAES
from lineup_models.pocket.registry import (
    COMPONENTS,
    load_component,
    load_generator,
    load_tokenizer,
    words,
)
from lineup_models.pocket.text import LENGTH, tokens_from_texts


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_fits_together_and_stays_small(name: str) -> None:
    parts = {part: load_component(None, name, part) for part in COMPONENTS[name]}
    spec = load_generator(None, name).spec
    shape = VAES[spec.vae].latent_shape(SIZE_PX)
    tokens = tokens_from_texts(load_tokenizer(None), ["a red ball in the snow"])
    with torch.no_grad():
        states = parts["text_encoder"](tokens)
        latents = torch.randn(1, *shape)
        prediction = parts["unet"](latents, torch.full((1,), 999.0), states)
        image = parts["vae_decoder"](prediction)
        encoded = parts["vae_encoder"](image)
    assert states.shape == (1, LENGTH, spec.unet.text_dimension)
    assert prediction.shape == encoded.shape == latents.shape
    assert image.shape == (1, 3, SIZE_PX, SIZE_PX)
    sizes = {part: sum(p.numel() for p in module.parameters()) for part, module in parts.items()}
    assert sizes["unet"] < 1_800_000
    assert sizes["vae_encoder"] + sizes["vae_decoder"] < 450_000
    assert sizes["text_encoder"] < 300_000


def test_siblings_share_text_encoder_and_autoencoder() -> None:
    for part in ("text_encoder", "vae_encoder", "vae_decoder"):
        first = load_component(None, "pocket-ash", part).state_dict()
        second = load_component(None, "pocket-birch", part).state_dict()
        assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert GENERATORS["pocket-ash"].vae == GENERATORS["pocket-birch"].vae


def test_all_others_have_an_autoencoder_of_their_own() -> None:
    families = [GENERATORS[name].vae for name in GENERATORS if name != "pocket-ash"]
    assert len(set(families)) == len(families)
    traits = {(spec.up, spec.norm, spec.latent_channels) for spec in VAES.values()}
    assert len({up for up, _, _ in traits}) == len({norm for _, norm, _ in traits}) == len(VAES)


def test_the_image_tower_puts_out_every_block_and_its_cut_the_middle_one() -> None:
    tower = load_component(None, "pocket-clip", "image_tower")
    cut = load_component(None, "pocket-clip", "image_tower_cut")
    images = torch.rand(2, 3, SIZE_PX, SIZE_PX)
    with torch.no_grad():
        cls, embedding = tower(images)
        middle = cut(images)
    assert cls.shape == (2, 6, 192)
    assert embedding.shape == (2, 128)
    assert torch.allclose(middle[:, 0], cls[:, 2], atol=1e-5)


def test_random_weights_are_the_same_every_time() -> None:
    first = load_component(None, "pocket-captioner", "text_decoder").state_dict()
    torch.rand(3)
    second = load_component(None, "pocket-captioner", "text_decoder").state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert words() > 60


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no component 'vae'"):
        load_component(None, "pocket-ash", "vae")
    with pytest.raises(BundleNotFoundError, match="lineup train pocket"):
        load_component(tmp_path, "pocket-clip", "image_tower")
