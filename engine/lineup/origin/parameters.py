"""What generators write into text fields: PNG texts, EXIF's user comment, stealth data.

Each format belongs to the program that writes it; fields are read where they stand, prompts are
left alone.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from lineup.claims import Claim, ClaimKind
from lineup.imaging.hidden import MAX_HIDDEN_BYTES, SIGNATURE_BYTES

UNSIGNED = "unsigned text"
Json: TypeAlias = dict[str, Any]

_SETTINGS = re.compile(r"\bSteps: \d+, .*", re.DOTALL)
# From a comma on, else every letter of a long word is tried as a beginning.
_SETTING = re.compile(r"(?:^|, |\n)([A-Z][\w /-]{0,40}): ([^,\n]{0,200})")
_SHOWN_SETTINGS = ("Model", "Model hash", "Sampler", "Schedule type", "Size")
# Beginning of "Version" in the settings line, and who writes so.
_VERSIONS = (
    ("stable-diffusion.cpp", "stable-diffusion.cpp"),
    ("ComfyUI", "ComfyUI"),
    ("Fooocus", "Fooocus"),
    ("neo", "Forge Neo"),
    ("f", "Forge"),
    ("v", "AUTOMATIC1111 web UI"),
)
_WEB_UI = "Stable Diffusion web UI"
"""Who writes a settings line without a version: AUTOMATIC1111's of 2022, and many that copy it."""

_AIGC_LABELS = {"1": "generated", "2": "possibly generated", "3": "suspected to be generated"}
"""GB 45438-2025, appendix E."""

DAMAGED_STEALTH = "there is text hidden in the lowest bits of its pixels, damaged or cut off"
_GZIP = 31
"""Window bits that make zlib expect gzip's header and check its checksum."""


def claims_from_texts(texts: Mapping[str, str], reader: str) -> list[Claim]:
    """Return what generators declare in texts by keyword, as PNG has them.

    Args:
        texts: Keyword to text; a lone text goes under "parameters".
        reader: What carries them (`Claim.reader`).
    """
    found = (read(texts, reader) for read in _READERS)
    return [claim for claim in found if claim is not None]


def claim_from_text(text: str, reader: str) -> Claim | None:
    """Return what one text without a keyword declares: JSON, or settings; None of other text."""
    claims = claims_from_texts({"parameters": text}, reader)
    record = json_from_text(text)
    if not claims and _is_graph(text):
        claims = claims_from_texts({"prompt": text}, reader)
    if not claims and "Comment" in record:  # NovelAI in JPEG and WebP: all of its texts as JSON
        claims = claims_from_texts(_strings(record), reader)
    return claims[0] if claims else None


def claim_from_hidden(hidden: bytes) -> Claim | str | None:
    """Return what text in the lowest bits of pixels claims, or a remark where it cannot be read.

    NovelAI writes a JSON object of what its PNG text holds (`Software`, `Source`, `Comment`, ...),
    web UIs their `parameters`. How bits become bytes: `lineup/imaging/hidden.py`.

    Args:
        hidden: `DecodedImage.hidden`.
    """
    text = text_from_hidden(hidden)
    return DAMAGED_STEALTH if text is None else claim_from_text(text, "stealth")


def text_from_hidden(hidden: bytes) -> str | None:
    """Return the text after a signature, or None if it is damaged, cut off or over 1 MiB."""
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


def json_from_text(text: str) -> Json:
    """Return a JSON object; an empty one for all other text."""
    if not text.lstrip().startswith("{"):
        return {}
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _from_settings(texts: Mapping[str, str], reader: str) -> Claim | None:
    """AUTOMATIC1111 and all that write like it: Forge, SD.Next, stable-diffusion.cpp, ..."""
    match = _SETTINGS.search(texts.get("parameters", ""))
    if match is None:
        return None
    settings = dict(_SETTING.findall(match[0]))
    if not {"Sampler", "CFG scale", "Seed"} & settings.keys():
        return None
    version = settings.get("Version") or None
    writers = (name for start, name in _VERSIONS if version and version.startswith(start))
    generator = settings.get("App") or next(writers, _WEB_UI)
    details = {name: settings[name] for name in _SHOWN_SETTINGS if name in settings}
    return _generated(reader, generator, version, details)


def _from_swarm(texts: Mapping[str, str], reader: str) -> Claim | None:
    settings = _object(json_from_text(texts.get("parameters", "")), "sui_image_params")
    if not settings:
        return None
    sampler = settings.get("comfyuisampler") or settings.get("sampler")
    details = {"model": settings.get("model"), "sampler": sampler}
    return _generated(reader, "SwarmUI", settings.get("swarm_version"), details)


def _from_fooocus(texts: Mapping[str, str], reader: str) -> Claim | None:
    settings = json_from_text(texts.get("parameters", ""))
    if "base_model" not in settings:
        return None
    version = str(settings.get("version", "")).removeprefix("Fooocus").strip()
    details = {"model": settings["base_model"], "sampler": settings.get("sampler")}
    return _generated(reader, "Fooocus", version, details)


def _from_draw_things(texts: Mapping[str, str], reader: str) -> Claim | None:
    settings = json_from_text(texts.get("parameters", ""))
    if not {"c", "uc", "model", "sampler"} <= settings.keys():
        return None
    details = {"model": settings["model"], "sampler": settings["sampler"]}
    return _generated(reader, "Draw Things", None, details)


def _from_comfyui(texts: Mapping[str, str], reader: str) -> Claim | None:
    graph = json_from_text(texts.get("prompt", ""))
    workflow = json_from_text(texts.get("workflow", ""))
    if not _is_graph(texts.get("prompt", "")) and not ({"nodes", "links"} <= workflow.keys()):
        return None
    details: dict[str, Any] = {}
    for node in graph.values():
        inputs = _object(node, "inputs")
        for name in ("ckpt_name", "unet_name", "model_name", "sampler_name"):
            if isinstance(inputs.get(name), str):
                details.setdefault(name.removesuffix("_name"), inputs[name])
    return _generated(reader, "ComfyUI", None, details)


def _from_invokeai(texts: Mapping[str, str], reader: str) -> Claim | None:
    if "invokeai_metadata" in texts:
        settings = json_from_text(texts["invokeai_metadata"])
        model = _object(settings, "model")
        details = {
            "model": model.get("name") or model.get("model_name"),
            "base": model.get("base") or model.get("base_model"),
            "sampler": settings.get("scheduler"),
            "mode": settings.get("generation_mode"),
        }
        return _generated(reader, "InvokeAI", settings.get("app_version"), details)
    settings = json_from_text(texts.get("sd-metadata", ""))
    if "Dream" not in texts and not settings:
        return None
    image = _object(settings, "image")
    details = {"model": settings.get("model_weights"), "sampler": image.get("sampler")}
    return _generated(reader, "InvokeAI", settings.get("app_version"), details)


def _from_novelai(texts: Mapping[str, str], reader: str) -> Claim | None:
    if not texts.get("Software", "").startswith("NovelAI"):
        return None
    settings = json_from_text(texts.get("Comment", ""))
    details = {"model": texts.get("Source"), "sampler": settings.get("sampler")}
    return _generated(reader, "NovelAI", None, details)


def _from_midjourney(texts: Mapping[str, str], reader: str) -> Claim | None:
    description = texts.get("Description", "")
    job = re.search(r"Job ID: ([0-9a-f-]{36})", description)
    if job is None:
        return None
    version = re.search(r"--(?:v|niji) ([\d.]{1,5})", description)
    return _generated(reader, "Midjourney", version and version[1], {"job": job[1]})


def _from_aigc(texts: Mapping[str, str], reader: str) -> Claim | None:
    """China's label: under its own keyword, or inside of other JSON."""
    label = json_from_text(texts.get("AIGC", ""))
    if not label:
        label = _object(json_from_text(texts.get("parameters", "")), "AIGC")
    if not {"Label", "ContentProducer"} <= label.keys():
        return None
    details = {
        "label": _AIGC_LABELS.get(str(label["Label"]), str(label["Label"])),
        "produce id": label.get("ProduceID"),
        "propagator": label.get("ContentPropagator"),
    }
    producer = label["ContentProducer"]
    return _generated("aigc-label", producer, None, details, "unsigned label of GB 45438-2025")


_READERS: tuple[Callable[[Mapping[str, str], str], Claim | None], ...] = (
    _from_aigc,
    _from_settings,
    _from_swarm,
    _from_fooocus,
    _from_draw_things,
    _from_comfyui,
    _from_invokeai,
    _from_novelai,
    _from_midjourney,
)


def _generated(
    reader: str,
    generator: object,
    version: object,
    details: Mapping[str, Any],
    strength: str = UNSIGNED,
) -> Claim:
    return Claim(
        reader,
        ClaimKind.GENERATED,
        strength,
        generator=_string(generator),
        version=_string(version),
        details=_strings(details),
    )


def _string(value: object) -> str | None:
    return str(value) if isinstance(value, str | int | float) else None


def _strings(record: Mapping[str, Any]) -> dict[str, str]:
    return {key: value for key, value in record.items() if isinstance(value, str)}


def _object(record: object, key: str) -> Json:
    value = record.get(key) if isinstance(record, dict) else None
    return value if isinstance(value, dict) else {}


def _is_graph(text: str) -> bool:
    """Tell a prompt of ComfyUI's API, node numbers with a class each, even where it was cut."""
    return text.lstrip().startswith("{") and '"class_type"' in text
