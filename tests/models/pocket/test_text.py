from __future__ import annotations

import torch

from lineup_models.pocket.registry import load_tokenizer, words
from lineup_models.pocket.text import (
    BOS,
    EOS,
    LENGTH,
    PAD,
    UNKNOWN,
    TextEncoder,
    TextEncoderSpec,
    tokens_from_texts,
)
from lineup_models.pocket.world.scene import scene_from_seed


def test_every_caption_of_the_world_is_known_and_comes_back_without_commas() -> None:
    tokenizer = load_tokenizer(None)
    for seed in range(50):
        for caption in scene_from_seed(seed).captions():
            ids = tokenizer.encode(caption).ids
            assert UNKNOWN not in ids
            assert len(ids) <= LENGTH
            assert tokenizer.decode(ids) == caption.replace(",", "")


def test_case_punctuation_and_unknown_words_are_tolerated() -> None:
    tokenizer = load_tokenizer(None)
    ids = tokenizer.encode("A red ball, zeppelin!").ids
    assert ids[0] == BOS
    assert ids[-2:] == [UNKNOWN, EOS]
    assert ids[:-2] == tokenizer.encode("a RED  ball").ids[:-1]
    assert tokenizer.token_to_id("<pad>") == PAD
    assert tokenizer.get_vocab_size() == words()


def test_a_long_text_is_cut_and_still_ends() -> None:
    tokens = tokens_from_texts(load_tokenizer(None), ["red " * 60, "a ball"])
    assert tokens.shape == (2, LENGTH)
    assert tokens[0, -1] == EOS
    assert tokens[1, 4:].eq(PAD).all()


def test_padding_neither_counts_nor_speaks() -> None:
    torch.manual_seed(0)
    encoder = TextEncoder(TextEncoderSpec(dimension=8, blocks=1, heads=2), words()).eval()
    tokens = tokens_from_texts(load_tokenizer(None), ["a red ball"])
    states = encoder(tokens)
    assert states[0, 5:].eq(0).all()
    assert torch.allclose(states[:, :5], encoder(tokens[:, :5]), atol=1e-6)
