from __future__ import annotations

import pytest
import torch

from lineup_models.pocket.captioner import Captioner, CaptionerSpec, TextDecoder, VisionEncoder

SPEC = CaptionerSpec(size_px=64, stem=(4, 8, 8, 16), dimension=16, layers=2, heads=2, max_tokens=7)
WORDS = 11


@pytest.fixture
def captioner() -> Captioner:
    torch.manual_seed(0)
    return Captioner(SPEC, WORDS).eval().requires_grad_(False)


def test_one_token_a_step_gives_the_logits_of_the_whole_text(captioner: Captioner) -> None:
    images = torch.rand(3, 3, 64, 64)
    tokens = torch.randint(0, WORDS, (3, SPEC.max_tokens))
    expected = captioner(images, tokens)
    cross = VisionEncoder(captioner)(images)
    # What lies after the position must not matter.
    shape = (3, SPEC.layers, SPEC.heads, SPEC.max_tokens, SPEC.head_dimension)
    keys, values = torch.randn(shape), torch.randn(shape)
    decoder = TextDecoder(captioner)

    for place in range(SPEC.max_tokens):
        logits, keys, values = decoder(
            tokens[:, place], torch.tensor([place]), keys, values, *cross
        )
        assert torch.allclose(logits, expected[:, place], atol=1e-5)


def test_the_vision_encoder_puts_out_keys_and_values_by_layer_and_head(
    captioner: Captioner,
) -> None:
    keys, values = VisionEncoder(captioner)(torch.rand(2, 3, 64, 64))
    assert SPEC.image_tokens == 4
    assert keys.shape == values.shape == (2, 2, 2, 4, 8)


def test_a_word_sees_the_picture_and_no_later_word(captioner: Captioner) -> None:
    images, tokens = torch.rand(1, 3, 64, 64), torch.tensor([[1, 5, 6, 7]])
    changed = torch.tensor([[1, 5, 9, 7]])
    before, after = captioner(images, tokens), captioner(images, changed)
    assert torch.allclose(before[:, :2], after[:, :2], atol=1e-6)
    assert not torch.allclose(before[:, 2], after[:, 2], atol=1e-3)
    assert not torch.allclose(before, captioner(1 - images, tokens), atol=1e-3)
