"""What a file says of itself: signed credentials, texts of generators, EXIF, XMP, watermarks.

    origin = origin_from_file(path.read_bytes())
    print(origin.statement)

A file without any of it costs the walk over its blocks and a look at a part of its pixels, below a
millisecond.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lineup.claims import Claim, ClaimKind, Origin
from lineup.origin.blocks import blocks_from_bytes

if TYPE_CHECKING:
    from lineup.imaging.decode import DecodedImage

DAMAGED_STEALTH = "there is text hidden in the lowest bits of its pixels, damaged or cut off"


def origin_from_file(data: bytes, image: DecodedImage | None = None) -> Origin:
    """Return what a file declares.

    Args:
        data: The whole file.
        image: It decoded; without, what pixels carry is not read.

    Raises:
        ImageError: It is no image of a known format.
    """
    blocks = blocks_from_bytes(data)
    claims: list[Claim] = []
    notes: list[str] = []
    if blocks.has_c2pa:
        # Here, as all below, because most files carry nothing that has to be read.
        from lineup.origin.credentials import claim_from_credentials  # noqa: PLC0415

        found = claim_from_credentials(data, blocks.format)
        notes += [found] if isinstance(found, str) else []
        claims += [found] if isinstance(found, Claim) else []
    if image is not None:
        from lineup.origin.watermarks import claim_from_pixels  # noqa: PLC0415 - as above

        found = _claim_from_hidden(image.hidden)
        notes += [found] if isinstance(found, str) else []
        claims += [found] if isinstance(found, Claim) else []
        marked = claim_from_pixels(image.pixels)
        claims += [] if marked is None else [marked]
    if blocks.texts or blocks.exif or blocks.xmp:
        from lineup.origin.metadata import claims_from_blocks  # noqa: PLC0415

        claims += claims_from_blocks(blocks.texts, blocks.exif, blocks.xmp)
    return Origin(tuple(_known(_ordered(claims))), tuple(notes)) if claims or notes else NOTHING


NOTHING = Origin()


def _claim_from_hidden(hidden: bytes | None) -> Claim | str | None:
    """Return what text in the lowest bits claims, or a remark on what cannot be read of it."""
    if hidden is None:
        return None
    from lineup.origin.parameters import claim_from_text  # noqa: PLC0415 - as above
    from lineup.origin.stealth import text_from_hidden  # noqa: PLC0415

    text = text_from_hidden(hidden)
    return DAMAGED_STEALTH if text is None else claim_from_text(text, "stealth")


def _ordered(claims: list[Claim]) -> list[Claim]:
    """Put who only wrote the file last, and drop it where others say more; no claim twice."""
    telling = [claim for claim in claims if claim.kind is not ClaimKind.PROCESSED]
    signed = [claim for claim in claims if claim.signature is not None and claim not in telling]
    once: dict[object, Claim] = {}
    for one in (*telling, *signed):
        once.setdefault((one.kind, one.generator, one.signature), one)
    return list(once.values()) or claims[:1]


def _known(claims: Iterable[Claim]) -> list[Claim]:
    from lineup.origin.generators import with_sources  # noqa: PLC0415 - as above

    return [with_sources(claim) for claim in claims]
