from __future__ import annotations

import numpy as np
import pytest
import torch

from lineup_models.pocket.blocks import (
    Activation,
    Attention,
    BlockKind,
    DownKind,
    NormKind,
    ResidualBlock,
    UpKind,
    downsample,
    upsample,
)
from lineup_models.pocket.clip import SPECTRAL_BANDS, ClipSpec, Patches
from lineup_models.pocket.clip_training import band_energies, partner_loss, styled
from lineup_models.pocket.data import images_from_pixels, pixels_from_images, resized, varied
from lineup_models.pocket.vae_training import colour_error, gradient_error


def test_attention_agrees_with_torch_and_leaves_out_what_is_masked() -> None:
    torch.manual_seed(0)
    attention = Attention(8, 2).eval()
    features = torch.randn(2, 5, 8)
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    keys, values = attention.keys_values(features)
    queries = attention.query(features).view(2, 5, 2, 4).transpose(1, 2)
    expected = torch.nn.functional.scaled_dot_product_attention(
        queries, keys, values, attn_mask=mask
    )
    expected = attention.output(expected.transpose(1, 2).reshape(2, 5, 8))
    assert torch.allclose(attention(features, mask=mask), expected, atol=1e-6)


@pytest.mark.parametrize("kind", UpKind)
def test_every_upsampling_doubles(kind: UpKind) -> None:
    assert upsample(kind, 6, 4)(torch.randn(1, 6, 5, 3)).shape == (1, 4, 10, 6)


@pytest.mark.parametrize("kind", DownKind)
def test_every_downsampling_halves(kind: DownKind) -> None:
    assert downsample(kind, 4, 6)(torch.randn(1, 4, 10, 6)).shape == (1, 6, 5, 3)


@pytest.mark.parametrize("kind", BlockKind)
@pytest.mark.parametrize("norm", NormKind)
def test_a_residual_block_starts_as_the_identity(kind: BlockKind, norm: NormKind) -> None:
    block = ResidualBlock(kind, 8, 8, norm, Activation.SILU, embedding=4)
    features = torch.randn(2, 8, 6, 6)
    assert torch.equal(block(features, torch.randn(2, 4)), features)
    torch.nn.init.ones_(block.conv2.weight)
    one, other = block(features, torch.zeros(2, 4)), block(features, torch.ones(2, 4))
    assert not torch.allclose(one, other)


def test_band_energies_tell_blur() -> None:
    generator = torch.Generator().manual_seed(0)
    sharp = torch.randn(1, 3, 64, 64, generator=generator)
    soft = torch.nn.functional.avg_pool2d(sharp, 3, 1, 1)
    difference = (band_energies(sharp) - band_energies(soft))[0]
    assert difference.shape == (SPECTRAL_BANDS,)
    assert difference[0].abs() < 0.5
    assert difference[-1] > 3.0


def test_errors_of_colour_and_gradient_see_their_own_kind_alone() -> None:
    reference = torch.zeros(1, 3, 16, 16)
    brighter, redder = reference + 0.1, reference.clone()
    redder[:, 0] += 0.2
    assert colour_error(brighter, reference).item() == pytest.approx(0.0, abs=1e-6)
    assert colour_error(redder, reference).item() == pytest.approx(0.1, abs=1e-6)
    assert gradient_error(redder, reference).item() == 0.0
    rough = reference + torch.randn(1, 3, 16, 16)
    assert gradient_error(rough, reference).item() > 0.5


def test_pixels_survive_the_way_to_images_and_back() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    images = images_from_pixels(pixels, torch.device("cpu"))
    assert images.shape == (2, 3, 8, 8)
    assert images.abs().max() <= 1.0
    assert np.array_equal(pixels_from_images(images), pixels)
    assert resized(pixels, 8) is pixels
    means = pixels.reshape(2, 4, 2, 4, 2, 3).mean(axis=(2, 4))
    assert np.abs(resized(pixels, 4) - means).max() <= 1.0


def test_varied_pictures_come_from_the_random_state_alone() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    seen = {varied(picture, np.random.default_rng(seed)).tobytes() for seed in range(20)}
    assert len(seen) > 15
    first, again = (varied(picture, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first, again)
    assert first.shape == picture.shape


def test_partners_of_one_look_are_found_and_others_are_not() -> None:
    torch.manual_seed(0)
    looks = torch.randn(8, 16)
    apart = looks.repeat_interleave(2, dim=0) + 0.01 * torch.randn(16, 16)
    loss, share = partner_loss(apart, 0.1)
    assert share.item() == 1.0
    assert loss.item() < 0.1
    mixed, wrong = partner_loss(looks.repeat(2, 1), 0.1)
    assert wrong.item() == 0.0
    assert mixed.item() > 3.0


def test_a_look_depends_on_its_seed_and_not_on_the_picture() -> None:
    random = np.random.default_rng(0)
    flat = np.full((64, 64, 3), 128, np.uint8)
    rough = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    sharpness = []
    for seed in range(12):
        assert np.array_equal(styled(rough, seed), styled(rough, seed))
        assert styled(flat, seed).shape == flat.shape
        sharpness.append(float(np.diff(styled(rough, seed).astype(float), axis=1).std()))
    assert max(sharpness) > 3 * min(sharpness)


def test_the_class_token_tells_blur_before_the_first_block() -> None:
    torch.manual_seed(0)
    patches = Patches(ClipSpec())
    sharp = torch.rand(1, 3, 256, 256)
    soft = torch.nn.functional.avg_pool2d(sharp, 3, 1, 1)
    (_, first), (_, second) = patches(sharp), patches(soft)
    brighter = patches(sharp + 0.2)[1]
    assert first.shape == (1, 1, 192)
    assert (first - second).abs().max() > 0.5
    assert (first - brighter).abs().max() < 0.05
