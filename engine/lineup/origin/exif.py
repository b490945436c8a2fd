"""Text fields of EXIF and XMP blocks, by name; nothing else of them is looked at.

Pillow's EXIF reader copies what every entry points at, so that a block of 64 kB can ask for 350 MB;
the directory walk of `lineup.imaging.tiff` reads the few tags that are wanted. XMP is read by the
standard library's expat with every document type declaration refused, so that no entity exists.
"""

from __future__ import annotations

import contextlib
import itertools
import struct
from collections.abc import Mapping
from xml.parsers import expat

from lineup.imaging.tiff import layout_from_bytes, tags_from_directory

MOST_CHARACTERS = 2**18
"""Of a field; parameters of a generator stand at the end of a prompt."""

MOST_ELEMENTS = 20_000
"""Of an XMP packet; the longest editing histories have some thousands."""

_FIELDS = {270: "ImageDescription", 271: "Make", 272: "Model", 305: "Software"}
_EXIF_DIRECTORY, _USER_COMMENT = 34665, 37510
# One value of bytes for text, integers for the pointer to the EXIF directory.
_CODES = {1: "s", 2: "s", 7: "s", 4: "I", 13: "I"}

_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_PROPERTIES = {
    f"{_IPTC} DigitalSourceType": "DigitalSourceType",
    f"{_IPTC} AISystemUsed": "AISystemUsed",
    f"{_IPTC} AISystemVersionUsed": "AISystemVersionUsed",
    "http://ns.adobe.com/xap/1.0/ CreatorTool": "CreatorTool",
    "http://ns.adobe.com/photoshop/1.0/ Credit": "Credit",
    "http://ns.adobe.com/exif/1.0/ UserComment": "UserComment",
    "http://ns.adobe.com/tiff/1.0/ Make": "Make",
    "http://ns.adobe.com/tiff/1.0/ Model": "Model",
    "http://purl.org/dc/elements/1.1/ description": "Description",
    "http://www.tc260.org.cn/ns/AIGC/1.0/ AIGC": "AIGC",  # GB 45438-2025
}


def fields_from_exif(block: bytes) -> dict[str, str]:
    """Return the text fields of an EXIF block (a TIFF structure); none of a damaged one."""
    try:
        layout = layout_from_bytes(block)
        wanted = frozenset({*_FIELDS, _EXIF_DIRECTORY})
        tags, _ = tags_from_directory(block, layout, layout.first_offset, wanted, _CODES)
    except (struct.error, KeyError, OverflowError):
        return {}
    fields = {name: _text(tags[tag].values) for tag, name in _FIELDS.items() if tag in tags}
    pointer = tags[_EXIF_DIRECTORY].values[:1] if _EXIF_DIRECTORY in tags else ()
    if pointer and isinstance(pointer[0], int):
        try:
            wanted = frozenset({_USER_COMMENT})
            tags, _ = tags_from_directory(block, layout, pointer[0], wanted, _CODES)
        except (struct.error, OverflowError):
            return fields
        if _USER_COMMENT in tags:
            fields["UserComment"] = _text_from_comment(_bytes(tags[_USER_COMMENT].values))
    return fields


def _bytes(values: tuple[object, ...]) -> bytes:
    value = values[0] if values else b""
    return value[: 2 * MOST_CHARACTERS] if isinstance(value, bytes) else b""


def _text(values: tuple[object, ...]) -> str:
    return _bytes(values).rstrip(b"\x00 ").decode("utf-8", "replace")


def _text_from_comment(comment: bytes) -> str:
    """Return an EXIF UserComment: 8 bytes name its encoding."""
    kind, text = comment[:8], comment[8:]
    if kind != b"UNICODE\x00":
        plain = text if kind in _PLAIN_COMMENTS else comment
        return plain.strip(b"\x00 ").decode(errors="replace")
    # EXIF leaves the order of bytes open, and writers ignore that of the block: text has more
    # zeros in its high bytes.
    order = "utf-16-be" if text[0::2].count(0) >= text[1::2].count(0) else "utf-16-le"
    return text.decode(order, "replace").strip("\x00 ")


_PLAIN_COMMENTS = (b"ASCII\x00\x00\x00", bytes(8))


class _RefusedError(Exception):
    """A document type declaration, which XMP never has, or too many elements."""


def fields_from_xmp(packet: bytes) -> dict[str, str]:
    """Return the wanted properties of an XMP packet; of a damaged one those before the damage."""
    parts: dict[str, list[str]] = {}
    inside: list[str] = []  # the wanted property that is open, and the elements in it
    elements = itertools.count(1)

    def start(name: str, attributes: Mapping[str, str]) -> None:
        if next(elements) > MOST_ELEMENTS:
            raise _RefusedError
        if inside or name in _PROPERTIES:
            inside.append(name)
        for key in attributes.keys() & _PROPERTIES.keys():
            parts.setdefault(_PROPERTIES[key], []).append(attributes[key])

    def end(_: str) -> None:
        if inside:
            inside.pop()

    def text(part: str) -> None:
        if inside:
            parts.setdefault(_PROPERTIES[inside[0]], []).append(part)

    def refuse(*_: object) -> None:
        raise _RefusedError

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    with contextlib.suppress(expat.ExpatError, _RefusedError, ValueError, LookupError):
        parser.Parse(packet.strip(b"\x00 \r\n"), True)
    return {name: "".join(found).strip()[:MOST_CHARACTERS] for name, found in parts.items()}
