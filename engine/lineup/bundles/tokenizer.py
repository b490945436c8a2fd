"""Tokenizers of a bundle."""

from __future__ import annotations

from tokenizers import Tokenizer

from lineup.bundles.bundle import Bundle
from lineup.errors import BundleFormatError


def tokenizer_from_bundle(bundle: Bundle, path: str) -> Tokenizer:
    """Return a tokenizer.

    Args:
        bundle: The bundle.
        path: One of its files, a tokenizer.json.

    Raises:
        BundleFormatError: The file is not a tokenizer.
    """
    file = bundle.path / path
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises bare Exception
        raise BundleFormatError(
            f"{file}: not a tokenizer: {error}",
            hint="Expected a tokenizer.json of the Hugging Face tokenizers library.",
        ) from error
