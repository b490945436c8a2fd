from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from lineup_export.public.tokenizer_files import (
    BERT_VOCABULARY,
    CLIP_VOCABULARY,
    GPT2_VOCABULARY,
    spelling_tokenizer,
)
from lineup_models.recipes.recipe import TokenizerFamily


@pytest.mark.parametrize(
    ("family", "size"),
    [
        (TokenizerFamily.CLIP, CLIP_VOCABULARY),
        (TokenizerFamily.BERT, BERT_VOCABULARY),
        (TokenizerFamily.GPT2, GPT2_VOCABULARY),
    ],
)
def test_a_stand_in_has_the_size_of_its_family_and_spells_any_text(
    family: TokenizerFamily, size: int
) -> None:
    tokenizer = Tokenizer.from_str(spelling_tokenizer(family))

    assert tokenizer.get_vocab_size() == size
    ids = tokenizer.encode("A red cat, 3 dogs: naïve 猫!").ids
    assert ids
    assert max(ids) < size


def test_clip_frames_a_prompt_and_ends_words() -> None:
    tokenizer = Tokenizer.from_str(spelling_tokenizer(TokenizerFamily.CLIP))

    encoding = tokenizer.encode("A cat")

    assert encoding.tokens == ["<|startoftext|>", "a</w>", "c", "a", "t</w>", "<|endoftext|>"]
    # The letters have the ids that they have in CLIP's own vocabulary.
    assert encoding.ids == [49406, 320, 66, 64, 339, 49407]


def test_bert_frames_a_text_and_knows_blips_special_tokens() -> None:
    tokenizer = Tokenizer.from_str(spelling_tokenizer(TokenizerFamily.BERT))

    assert tokenizer.encode("Cat").tokens == ["[CLS]", "c", "##a", "##t", "[SEP]"]
    assert [tokenizer.token_to_id(word) for word in ("[PAD]", "[SEP]", "[DEC]")] == [0, 102, 30522]
    assert tokenizer.decode(tokenizer.encode("cat dog").ids) == "cat dog"


def test_gpt2_ends_with_its_one_special_token() -> None:
    tokenizer = Tokenizer.from_str(spelling_tokenizer(TokenizerFamily.GPT2))

    assert tokenizer.token_to_id("<|endoftext|>") == 50256
    assert tokenizer.decode(tokenizer.encode("a naïve cat").ids) == "a naïve cat"
