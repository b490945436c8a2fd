"""Tokenizers as the one file that the runtime reads."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from lineup.errors import UsageError
from lineup_models.recipes.recipe import TokenizerFamily

CLIP_VOCABULARY, BERT_VOCABULARY, GPT2_VOCABULARY = 49408, 30524, 50257

_CLIP_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_CLIP_BOS, _CLIP_EOS = "<|startoftext|>", "<|endoftext|>"


def spelling_tokenizer(family: TokenizerFamily) -> str:
    """Return a tokenizer that stands in for a family's when its vocabulary is not at hand.

    It has the family's special tokens, ids and rules, but no merged words: it spells. That suits
    random weights, which know no words either.

    Returns:
        The content of a tokenizer.json.
    """
    make = {"bert": _bert, "clip": _clip, "gpt2": _gpt2}[family.value]
    return str(make().to_str())


def tokenizer_from_folder(folder: Path) -> str:
    """Return the content of tokenizer.json, or of what transformers makes of other files.

    Raises:
        UsageError: The folder holds no tokenizer.
    """
    path = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path)) if path.is_file() else _converted(folder)
    # The host pads and cuts by the manifest.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return str(tokenizer.to_str())


def _converted(folder: Path) -> Tokenizer:
    from transformers import AutoTokenizer  # noqa: PLC0415 - slow, and seldom needed

    try:
        loaded = AutoTokenizer.from_pretrained(folder, local_files_only=True, use_fast=True)
        backend: Tokenizer = loaded.backend_tokenizer
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise UsageError(
            f"{folder} holds no tokenizer that can be read.",
            hint="Expected tokenizer.json, or vocab.json and merges.txt, or vocab.txt.",
        ) from error
    return backend


def _clip() -> Tokenizer:
    letters = _byte_letters()
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    ids = _filled(words, [_CLIP_BOS, _CLIP_EOS], CLIP_VOCABULARY)
    tokenizer = Tokenizer(
        models.BPE(ids, [], unk_token=_CLIP_EOS, end_of_word_suffix="</w>", fuse_unk=False)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.post_processor = processors.RobertaProcessing(
        sep=(_CLIP_EOS, ids[_CLIP_EOS]),
        cls=(_CLIP_BOS, ids[_CLIP_BOS]),
        add_prefix_space=False,
        trim_offsets=False,
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([_CLIP_BOS, _CLIP_EOS])
    return tokenizer


def _gpt2() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(_filled(_byte_letters(), [_CLIP_EOS], GPT2_VOCABULARY), []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([_CLIP_EOS])
    return tokenizer


def _bert() -> Tokenizer:
    words = [f"[unused{number}]" for number in range(BERT_VOCABULARY)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]"]
    for word, number in zip(special, (0, 100, 101, 102, 103, 30522, 30523), strict=True):
        words[number] = word
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    for offset, letter in enumerate(letters):
        words[1000 + offset], words[1200 + offset] = letter, f"##{letter}"
    ids = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))  # noqa: S106 - no password
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 101), ("[SEP]", 102)]
    )
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(special)
    return tokenizer


def _filled(words: list[str], special: list[str], size: int) -> dict[str, int]:
    """Return the ids of a vocabulary: words, unused ones up to its size, special tokens."""
    unused = [f"<unused{number}>" for number in range(size - len(words) - len(special))]
    return {word: number for number, word in enumerate([*words, *unused, *special])}


def _byte_letters() -> list[str]:
    """Return a printable letter per byte, in the order of the vocabularies of GPT-2 and CLIP."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + n) for n in range(len(others))]
