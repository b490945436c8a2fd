"""The text that "stealth pnginfo" writers hide in pixels: NovelAI, and a plugin of web UIs.

NovelAI writes a JSON object of what its PNG text holds (`Software`, `Source`, `Comment`, ...),
web UIs their `parameters`. How bits become bytes: `lineup/imaging/hidden.py`.
"""

from __future__ import annotations

import zlib

from lineup.imaging.hidden import MAX_HIDDEN_BYTES, SIGNATURE_BYTES

_GZIP = 31
"""Window bits that make zlib expect gzip's header and check its checksum."""


def text_from_hidden(hidden: bytes) -> str | None:
    """Return the text after a signature, or None if it is damaged, cut off or over 1 MiB.

    Args:
        hidden: `DecodedImage.hidden`.
    """
    signature, content = hidden[:SIGNATURE_BYTES], hidden[SIGNATURE_BYTES:]
    if signature.endswith(b"comp"):
        inflater = zlib.decompressobj(_GZIP)
        try:
            content = inflater.decompress(content, MAX_HIDDEN_BYTES)
        except zlib.error:
            return None
        if not inflater.eof:
            return None
    return content.decode("utf-8", errors="replace") or None
