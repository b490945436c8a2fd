"""Tokenizer and text encoder of the pocket models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase, Replace
from tokenizers.normalizers import Sequence as NormalizerSequence
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn

from lineup_models.pocket.blocks import TransformerBlock

PAD, BOS, EOS, UNKNOWN = 0, 1, 2, 3
SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<unk>")
"""In the order of their ids."""

LENGTH = 32
"""Tokens of a caption, <bos> and <eos> counted; longer ones are cut."""


def tokenizer_from_vocabulary(vocabulary: Sequence[str]) -> Tokenizer:
    """Return a word-level tokenizer; case and punctuation do not count.

    The order of the words decides their ids, after those of the special tokens. A text is framed
    with <bos> and <eos>, and unknown words become <unk>.
    """
    ids = {token: number for number, token in enumerate((*SPECIAL_TOKENS, *vocabulary))}
    tokenizer = Tokenizer(WordLevel(ids, unk_token=SPECIAL_TOKENS[UNKNOWN]))
    # Apostrophes and hyphens may be inside a word.
    punctuation = Replace(Regex(r"[^\w\s'-]+"), " ")
    tokenizer.normalizer = NormalizerSequence([Lowercase(), punctuation])
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", BOS), ("<eos>", EOS)]
    )
    # The normaliser would take the brackets off a special token that is part of the text.
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS]
    )
    return tokenizer


def tokens_from_texts(tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Return int64 (texts, LENGTH), framed, padded, cut; the last of a cut text is <eos>."""
    tokens = torch.full((len(texts), LENGTH), PAD, dtype=torch.int64)
    for row, encoding in enumerate(tokenizer.encode_batch(list(texts))):
        ids = encoding.ids
        if len(ids) > LENGTH:
            ids = [*ids[: LENGTH - 1], EOS]
        tokens[row, : len(ids)] = torch.tensor(ids)
    return tokens


@dataclass(frozen=True, slots=True)
class TextEncoderSpec:
    """Sizes of a text encoder: `dimension` of a token's state, `ratio` of the MLPs' width to it."""

    dimension: int = 96
    blocks: int = 2
    heads: int = 4
    ratio: int = 4


class TextEncoder(nn.Module):
    """Transformer over the tokens of a prompt.

    Input int64 (prompts, length); output float32 (prompts, length, dimension), zeros where the
    prompt is padded, so that a cross-attention without mask takes nothing from there.
    """

    def __init__(self, spec: TextEncoderSpec, words: int) -> None:
        super().__init__()
        self.spec = spec
        self.embedding = nn.Embedding(words, spec.dimension)
        self.position = nn.Parameter(torch.zeros(LENGTH, spec.dimension))
        nn.init.normal_(self.embedding.weight, std=0.5)
        nn.init.normal_(self.position, std=0.2)
        self.blocks = nn.ModuleList(
            TransformerBlock(spec.dimension, spec.heads, spec.ratio) for _ in range(spec.blocks)
        )
        self.norm = nn.LayerNorm(spec.dimension)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the states."""
        known = tokens != PAD
        features = self.embedding(tokens) + self.position[: tokens.shape[1]]
        for block in self.blocks:
            features = block(features, known[:, None, None, :])
        states: Tensor = self.norm(features) * known[:, :, None]
        return states
