"""What EXIF and XMP declare: how the picture came about, by what, and by which program."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lineup.claims import Claim, ClaimKind
from lineup.origin.exif import fields_from_exif, fields_from_xmp
from lineup.origin.parameters import UNSIGNED, claim_from_text, claims_from_texts

_SOURCE_TYPES = {
    "trainedAlgorithmicMedia": ClaimKind.GENERATED,
    "compositeWithTrainedAlgorithmicMedia": ClaimKind.EDITED,
    "compositeSynthetic": ClaimKind.EDITED,
    "digitalCapture": ClaimKind.CAPTURED,
    "computationalCapture": ClaimKind.CAPTURED,
    "negativeFilm": ClaimKind.CAPTURED,
    "positiveFilm": ClaimKind.CAPTURED,
    "print": ClaimKind.CAPTURED,
}
"""IPTC's digital source types that say how the picture came about, by the end of their address."""

_FLUX = re.compile(r"AI generated;(\w+);flux")
"""`Software` of Black Forest Labs' reference code, whose `Model` is the model."""

_PROGRAMS_OF_GENERATORS = ("Draw Things", "Midjourney", "ComfyUI", "InvokeAI", "NovelAI", "Firefly")
_COMFYUI_FIELDS = {"Make": "workflow", "Model": "prompt"}
"""Where ComfyUI's WebP writer puts "workflow:{...}" and "prompt:{...}"."""


def kind_from_source_type(address: str) -> ClaimKind | None:
    """Return what an IPTC digital source type says; None where it says nothing of this."""
    return _SOURCE_TYPES.get(address.strip().rpartition("/")[2])


def claims_from_exif(fields: Mapping[str, str]) -> list[Claim]:
    """Return what the text fields of an EXIF block declare."""
    graph = {
        keyword: fields[field].partition(":")[2]
        for field, keyword in _COMFYUI_FIELDS.items()
        if fields.get(field, "").lower().startswith(f"{keyword}:")
    }
    claims = claims_from_texts(graph, "exif")
    for field in ("UserComment", "ImageDescription"):
        claim = claim_from_text(fields.get(field, ""), "exif")
        claims += [] if claim is None else [claim]
    return claims or _claims_from_maker(fields, "exif", fields.get("Software"))


def claims_from_xmp(fields: Mapping[str, str]) -> list[Claim]:
    """Return what the properties of an XMP packet declare."""
    texts = {"AIGC": fields.get("AIGC", ""), "Description": fields.get("Description", "")}
    claims = claims_from_texts(texts, "xmp")
    program = fields.get("AISystemUsed") or fields.get("CreatorTool")
    comment = claim_from_text(fields.get("UserComment", ""), "xmp")
    claims += [] if comment is None else [comment]
    kind = kind_from_source_type(fields.get("DigitalSourceType", ""))
    if kind is None and any(name in (program or "") for name in _PROGRAMS_OF_GENERATORS):
        kind = ClaimKind.GENERATED
    if kind is not None and not any(one.kind is kind for one in claims):
        claims.append(_claim_from_source_type(fields, kind, program))
    return claims or _claims_from_maker(fields, "xmp", program)


def _claim_from_source_type(
    fields: Mapping[str, str], kind: ClaimKind, program: str | None
) -> Claim:
    shown = {"DigitalSourceType": "source type", "Credit": "credit", "CreatorTool": "program"}
    return Claim(
        "xmp",
        kind,
        "unsigned metadata",
        generator=program or fields.get("Credit") or _camera(fields),
        version=fields.get("AISystemVersionUsed"),
        details={name: fields[field] for field, name in shown.items() if field in fields},
    )


def _claims_from_maker(fields: Mapping[str, str], reader: str, program: str | None) -> list[Claim]:
    """Return what make, model and program declare: a model, a camera, or who wrote the file."""
    flux = _FLUX.match(program or "")
    if flux is not None:
        details = {"model": fields.get("Model", ""), "mode": flux[1]}
        return [Claim(reader, ClaimKind.GENERATED, UNSIGNED, generator="FLUX", details=details)]
    camera = _camera(fields)
    details = {} if program is None else {"program": program}
    if camera:
        return [Claim(reader, ClaimKind.CAPTURED, UNSIGNED, generator=camera, details=details)]
    if program:
        return [Claim(reader, ClaimKind.PROCESSED, UNSIGNED, generator=program)]
    return []


def _camera(fields: Mapping[str, str]) -> str:
    make, model = fields.get("Make", ""), fields.get("Model", "")
    return model if model.startswith(make) else f"{make} {model}"


def claims_from_blocks(texts: Mapping[str, str], exif: bytes, xmp: bytes) -> list[Claim]:
    """Return what PNG texts, an EXIF block and an XMP packet declare, in this order."""
    claims = claims_from_texts(texts, "png")
    claims += claims_from_exif(fields_from_exif(exif)) if exif else []
    claims += claims_from_xmp(fields_from_xmp(xmp)) if xmp else []
    program = texts.get("Software")
    if not claims and program:
        claims.append(Claim("png", ClaimKind.PROCESSED, UNSIGNED, generator=program))
    return claims
