"""What a file says of itself: signed credentials, texts of generators, EXIF, XMP, watermarks.

    origin = origin_from_file(path.read_bytes())
    print(origin.statement)

A file without any of it costs the walk over its blocks and a look at a part of its pixels, below a
millisecond.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lineup.claims import Claim, ClaimKind, Origin
from lineup.origin.blocks import blocks_from_bytes

if TYPE_CHECKING:
    from lineup.imaging.decode import DecodedImage


def origin_from_file(data: bytes, image: DecodedImage | None = None) -> Origin:
    """Return what a file declares.

    Args:
        data: The whole file.
        image: It decoded; without, what pixels carry is not read.

    Raises:
        ImageError: It is no image of a known format.
    """
    blocks = blocks_from_bytes(data)
    found: list[Claim | str | None] = []
    if blocks.has_c2pa:
        # Here, as all below, because most files carry nothing that has to be read.
        from lineup.origin.credentials import claim_from_credentials  # noqa: PLC0415

        found.append(claim_from_credentials(data, blocks.format))
    if image is not None:
        from lineup.origin.watermarks import claim_from_pixels  # noqa: PLC0415 - as above

        if image.hidden is not None:
            from lineup.origin.parameters import claim_from_hidden  # noqa: PLC0415

            found.append(claim_from_hidden(image.hidden))
        found.append(claim_from_pixels(image.pixels))
    if blocks.texts or blocks.exif or blocks.xmp:
        from lineup.origin.metadata import claims_from_blocks  # noqa: PLC0415

        found += claims_from_blocks(blocks.texts, blocks.exif, blocks.xmp)
    claims = [one for one in found if isinstance(one, Claim)]
    notes = tuple(one for one in found if isinstance(one, str))
    if not claims and not notes:
        return Origin()
    from lineup.origin.generators import with_sources  # noqa: PLC0415 - as above

    return Origin(tuple(map(with_sources, _ordered(claims))), notes)


def _ordered(claims: list[Claim]) -> list[Claim]:
    """Put who only wrote the file last, and drop it where others say more; no claim twice."""
    telling = [claim for claim in claims if claim.kind is not ClaimKind.PROCESSED]
    signed = [claim for claim in claims if claim.signature is not None and claim not in telling]
    once: dict[object, Claim] = {}
    for one in (*telling, *signed):
        once.setdefault((one.kind, one.generator, one.signature), one)
    return list(once.values()) or claims[:1]
