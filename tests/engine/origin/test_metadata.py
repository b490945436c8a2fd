"""What each writer of metadata writes, in each format that carries it."""

import json

import PIL.Image
import pytest
from PIL.PngImagePlugin import PngInfo

from lineup.claims import ClaimKind
from lineup.origin import origin_from_file

SETTINGS = (
    "a cat, 8k\nNegative prompt: bad\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, "
    "Size: 512x512, Model hash: 6ce0161689, Model: v1-5-pruned, Version: {}"
)
COMFY = json.dumps(
    {
        "3": {"class_type": "KSampler", "inputs": {"sampler_name": "euler", "seed": 1}},
        "4": {"class_type": "CheckpointLoader", "inputs": {"ckpt_name": "sd_xl_base_1.0.ckpt"}},
    }
)
SWARM = json.dumps({"sui_image_params": {"model": "m", "swarm_version": "0.9.3.1"}})
INVOKE = json.dumps(
    {"app_version": "5.6.0", "model": {"name": "dreamshaper", "base": "sd-1"}, "scheduler": "euler"}
)
NOVELAI = {
    "Software": "NovelAI",
    "Source": "NovelAI Diffusion V4.5 C02D4F98",
    "Comment": json.dumps({"sampler": "k_euler", "steps": 28}),
}
FOOOCUS = json.dumps({"base_model": "juggernautXL", "version": "Fooocus v2.5.5", "sampler": "dpm"})
AIGC = json.dumps({"Label": "1", "ContentProducer": "doubao", "ProduceID": "7"})
JOB = "a cat --v 6.1 Job ID: 01234567-89ab-cdef-0123-456789abcdef"

WRITERS = [
    ({"parameters": SETTINGS.format("v1.10.1")}, "AUTOMATIC1111 web UI", "v1.10.1"),
    ({"parameters": SETTINGS.format("f2.0.1v1.10.1-previous")}, "Forge", "f2.0.1v1.10.1-previous"),
    ({"parameters": SETTINGS.format("neo")}, "Forge Neo", "neo"),
    ({"parameters": SETTINGS.format("ComfyUI")}, "ComfyUI", "ComfyUI"),
    (
        {"parameters": "x\nSteps: 4, CFG scale: 1, Seed: 42, Version: stable-diffusion.cpp"},
        "stable-diffusion.cpp",
        "stable-diffusion.cpp",
    ),
    ({"parameters": SETTINGS.format("1a2b3c4") + ", App: SD.Next"}, "SD.Next", "1a2b3c4"),
    ({"parameters": "x\nSteps: 4, Sampler: Euler, Seed: 1"}, "Stable Diffusion web UI", None),
    ({"prompt": COMFY, "workflow": "{}"}, "ComfyUI", None),
    ({"workflow": json.dumps({"nodes": [], "links": []})}, "ComfyUI", None),
    ({"invokeai_metadata": INVOKE}, "InvokeAI", "5.6.0"),
    ({"Dream": "a cat -s50"}, "InvokeAI", None),
    (NOVELAI, "NovelAI", None),
    ({"parameters": FOOOCUS, "fooocus_scheme": "fooocus"}, "Fooocus", "v2.5.5"),
    ({"parameters": SWARM}, "SwarmUI", "0.9.3.1"),
    ({"Description": JOB, "Author": "me"}, "Midjourney", "6.1"),
    ({"AIGC": AIGC}, "doubao", None),
]


def xmp(*properties, attributes=""):
    """Return an XMP packet of properties as (name with prefix, value)."""
    spaces = {
        "xmp": "http://ns.adobe.com/xap/1.0/",
        "dc": "http://purl.org/dc/elements/1.1/",
        "exif": "http://ns.adobe.com/exif/1.0/",
        "photoshop": "http://ns.adobe.com/photoshop/1.0/",
        "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
        "TC260": "http://www.tc260.org.cn/ns/AIGC/1.0/",
    }
    declared = " ".join(f'xmlns:{prefix}="{space}"' for prefix, space in spaces.items())
    elements = "".join(f"<{name}>{value}</{name}>" for name, value in properties)
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {declared} {attributes}>{elements}'
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    )


def in_list(text):
    return f'<rdf:Alt><rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt>'


def escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def only_claim(data):
    (claim,) = origin_from_file(data).claims
    return claim


def png(saved, texts, *, kind="text", compressed=False):
    info = PngInfo()
    for keyword, text in texts.items():
        add = info.add_itxt if kind == "itxt" else info.add_text
        add(keyword, text, zip=compressed)
    return saved(pnginfo=info)


def exif(fields, comment=None):
    block = PIL.Image.Exif()
    for tag, text in fields.items():
        block[tag] = text
    if comment is not None:
        block.get_ifd(0x8769)[0x9286] = comment
    return block


@pytest.mark.parametrize(("texts", "generator", "version"), WRITERS)
def test_a_text_of_png(texts, generator, version, saved):
    claim = only_claim(png(saved, texts))

    assert (claim.generator, claim.version) == (generator, version)
    assert claim.kind is ClaimKind.GENERATED
    assert claim.signature is None
    assert claim.strength.startswith("unsigned")


@pytest.mark.parametrize(("kind", "compressed"), [("text", True), ("itxt", False), ("itxt", True)])
def test_every_kind_of_text_chunk(kind, compressed, saved):
    data = png(saved, {"parameters": SETTINGS.format("v1.6.0")}, kind=kind, compressed=compressed)

    assert only_claim(data).version == "v1.6.0"


def test_models_and_samplers_are_told(saved):
    settings = only_claim(png(saved, {"parameters": SETTINGS.format("v1.6.0")}))
    graph = only_claim(png(saved, {"prompt": COMFY}))

    assert settings.details["Model"] == "v1-5-pruned"
    assert settings.details["Sampler"] == "Euler a"
    assert settings.sources == ("sd15",)
    assert graph.details == {"sampler": "euler", "ckpt": "sd_xl_base_1.0.ckpt"}
    assert graph.sources == ()
    assert "sd15" in graph.excludes


def test_settings_in_the_description_of_a_tiff(saved):
    assert only_claim(saved("TIFF", exif=exif({270: SETTINGS.format("v1")}))).version == "v1"


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP", "PNG", "AVIF"])
def test_settings_in_the_user_comment(image_format, saved):
    comment = b"UNICODE\x00" + SETTINGS.format("v1.6.0").encode("utf-16-be")
    claim = only_claim(saved(image_format, exif=exif({270: "a cat"}, comment)))

    assert (claim.reader, claim.version) == ("exif", "v1.6.0")


@pytest.mark.parametrize(
    ("comment", "generator"),
    [
        (b"UNICODE\x00" + SWARM.encode("utf-16-le"), "SwarmUI"),
        (b"ASCII\x00\x00\x00" + FOOOCUS.encode(), "Fooocus"),
        (bytes(8) + COMFY.encode(), "ComfyUI"),
        (bytes(8) + json.dumps(NOVELAI).encode(), "NovelAI"),
        (json.dumps({"AIGC": json.loads(AIGC)}).encode(), "doubao"),
    ],
)
def test_other_writers_of_user_comments(comment, generator, saved):
    assert only_claim(saved("JPEG", exif=exif({}, comment))).generator == generator


@pytest.mark.parametrize(
    ("fields", "kind", "text"),
    [
        (
            {305: "AI generated;img2img;flux", 271: "Black Forest Labs", 272: "flux-dev"},
            ClaimKind.GENERATED,
            "made with FLUX, unsigned text",
        ),
        (
            {271: "Canon", 272: "Canon EOS R5", 305: "Lightroom"},
            ClaimKind.CAPTURED,
            "photographed with Canon EOS R5, unsigned text",
        ),
        ({305: "GIMP 2.10"}, ClaimKind.PROCESSED, "written by GIMP 2.10, unsigned text"),
        ({271: "workflow:{}", 272: f"prompt:{COMFY}"}, ClaimKind.GENERATED, None),
    ],
)
@pytest.mark.parametrize("image_format", ["JPEG", "WEBP", "TIFF"])
def test_make_model_and_program(image_format, fields, kind, text, saved):
    claim = only_claim(saved(image_format, exif=exif(fields)))

    assert claim.kind is kind
    assert text in (None, claim.text)


@pytest.mark.parametrize(
    ("packet", "kind", "generator"),
    [
        (
            xmp(
                ("Iptc4xmpExt:DigitalSourceType", "http://x/trainedAlgorithmicMedia"),
                ("photoshop:Credit", "Made with Google AI"),
            ),
            ClaimKind.GENERATED,
            "Made with Google AI",
        ),
        (
            xmp(attributes='Iptc4xmpExt:DigitalSourceType="http://x/digitalCapture"'),
            ClaimKind.CAPTURED,
            None,
        ),
        (
            xmp(
                ("Iptc4xmpExt:DigitalSourceType", "x/compositeWithTrainedAlgorithmicMedia"),
                ("Iptc4xmpExt:AISystemUsed", "Firefly"),
            ),
            ClaimKind.EDITED,
            "Firefly",
        ),
        (xmp(("dc:description", in_list(JOB))), ClaimKind.GENERATED, "Midjourney"),
        (xmp(("TC260:AIGC", escaped(AIGC))), ClaimKind.GENERATED, "doubao"),
        (
            xmp(
                ("xmp:CreatorTool", "Draw Things"),
                ("exif:UserComment", in_list('{"c":"a","uc":"b","model":"m","sampler":"s"}')),
            ),
            ClaimKind.GENERATED,
            "Draw Things",
        ),
        (xmp(("xmp:CreatorTool", "Photoshop")), ClaimKind.PROCESSED, "Photoshop"),
    ],
)
@pytest.mark.parametrize("image_format", ["JPEG", "WEBP", "PNG", "TIFF", "AVIF"])
def test_xmp(image_format, packet, kind, generator, saved):
    if image_format == "PNG":
        data = png(saved, {"XML:com.adobe.xmp": packet}, kind="itxt")
    elif image_format == "TIFF":
        data = saved("TIFF", tiffinfo={700: packet.encode()})
    else:
        data = saved(image_format, xmp=packet.encode())
    claim = only_claim(data)

    assert (claim.kind, claim.generator) == (kind, generator)


def test_a_workflow_that_is_longer_than_what_is_read_names_its_program(saved):
    graph = json.dumps({str(one): {"class_type": "x" * 100} for one in range(20_000)})

    assert only_claim(png(saved, {"prompt": graph})).text == "made with ComfyUI, unsigned text"


def test_plain_text_declares_nothing(saved):
    assert (
        origin_from_file(png(saved, {"Comment": "Steps: 20 to the door", "Title": "x"})).claims
        == ()
    )


def test_two_writers_are_two_claims_and_one_program_none(saved):
    texts = {"parameters": SETTINGS.format("v1.6.0"), "AIGC": AIGC, "Software": "GIMP"}
    claims = origin_from_file(png(saved, texts)).claims

    assert [one.reader for one in claims] == ["aigc-label", "png"]


def test_the_same_claim_twice_counts_where_it_stands_first(saved):
    packet = xmp(("exif:UserComment", in_list(escaped(SWARM))))
    texts = {"AIGC": AIGC, "parameters": SWARM, "XML:com.adobe.xmp": packet}
    claims = origin_from_file(png(saved, texts)).claims

    assert [(one.reader, one.generator) for one in claims] == [
        ("aigc-label", "doubao"),
        ("png", "SwarmUI"),
    ]


def test_a_damaged_file_says_what_stands_before_the_damage(saved):
    data = png(saved, {"parameters": SETTINGS.format("v1.6.0")})

    assert only_claim(data[: data.index(b"IDAT") + 50]).version == "v1.6.0"
