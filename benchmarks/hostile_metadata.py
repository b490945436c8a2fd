"""Files whose metadata mean harm, read one by one: nothing raised, bounded time, nothing raw.

    python benchmarks/hostile_metadata.py [--files 1000] [--seed 0]

Fields are oversized, nested, binary, full of terminal escapes, compressed bombs, cyclic or cut, in
every format that carries any. Ends in one JSON line; exit code 1 when anything was wrong.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator

import PIL.Image
from PIL.PngImagePlugin import PngInfo

from _mutation_worker import png_chunk
from lineup.origin import origin_from_file

LIMIT_S = 1.0
"""Of the processor, for one file; a scan has thousands."""

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[31m\r\n\x00\x9b\u202e\u2066\ufeff\x7f"
KEYWORDS = ("parameters", "prompt", "workflow", "Comment", "Software", "Description", "AIGC")
KEYWORDS += ("invokeai_metadata", "sd-metadata", "Dream", "Source", "XML:com.adobe.xmp")


def _settings(payload: str) -> str:
    return f"x\nSteps: 1, Sampler: {payload}, Seed: 1, Model: {payload}, Version: {payload}"


def _xmp(inner: str, head: str = "") -> str:
    return (
        f'{head}<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        f'xmlns:t="http://www.tc260.org.cn/ns/AIGC/1.0/"><xmp:CreatorTool>{inner}'
        f"</xmp:CreatorTool><t:AIGC>{inner}</t:AIGC></x:xmpmeta>"
    )


_LAUGHS = "".join(f'<!ENTITY l{number} "{f"&l{number - 1};" * 10}">' for number in range(1, 10))
PAYLOADS: tuple[Callable[[random.Random], str], ...] = (
    lambda draw: _settings(ESCAPES * draw.randrange(1, 1000)),
    lambda draw: _settings("A" * draw.randrange(1, 2_000_000)),
    lambda draw: "Steps: 1, " + "Aa: b, " * draw.randrange(1, 100_000) + "Seed: 1",
    lambda draw: "Steps: 1, " + "A" * draw.randrange(1, 1_000_000) + ", Seed: 1",
    lambda draw: '{"AIGC":' * draw.randrange(1, 200_000),
    lambda draw: "[" * draw.randrange(1, 1_000_000),
    lambda draw: json.dumps({"sui_image_params": {"model": ESCAPES, "swarm_version": [[[]]]}}),
    lambda draw: json.dumps({"Label": 1, "ContentProducer": ESCAPES * 99, "ProduceID": {}}),
    lambda draw: '{"base_model": ' + "9" * draw.randrange(1, 100_000) + "}",
    lambda draw: json.dumps({str(one): {"class_type": ESCAPES} for one in range(20_000)}),
    lambda draw: "".join(chr(draw.randrange(1, 0xD800)) for _ in range(draw.randrange(5000))),
    lambda draw: "NovelAI" + ESCAPES,
    lambda draw: _xmp("&l9;", f'<!DOCTYPE x [<!ENTITY l0 "lol">{_LAUGHS}]>'),
    lambda draw: _xmp("&x;", '<!DOCTYPE x [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
    lambda draw: _xmp("<a>" * draw.randrange(1, 100_000)),
    lambda draw: _xmp("<a/>x" * draw.randrange(1, 150_000)),
    lambda draw: _xmp("&#x202e;&#x9b;evil" * draw.randrange(1, 20_000)),
    lambda draw: _xmp("x" * draw.randrange(1, 3_000_000)),
)


def hostile_files(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield a name and the content of each file; the same ones for the same seed."""
    draw = random.Random(seed)  # noqa: S311 - reproducible, nothing secret
    picture = PIL.Image.new("RGB", (8, 8))
    makers = (_png, _png_bomb, _carrier, _exif_directory, _c2pa)
    for number in range(count):
        maker = makers[number % len(makers)]
        data = maker(draw, picture)
        if draw.random() < 0.3:  # and damaged on top
            data = bytearray(data)
            for _ in range(draw.randrange(1, 30)):
                data[draw.randrange(16, len(data))] = draw.randrange(256)
            data = bytes(data[: draw.randrange(len(data) // 2, len(data) + 1)])
        yield f"{number}-{maker.__name__}", data


def _text(draw: random.Random) -> str:
    return draw.choice(PAYLOADS)(draw)


def _png(draw: random.Random, picture: PIL.Image.Image) -> bytes:
    info = PngInfo()
    for _ in range(draw.randrange(1, 4)):
        text = _text(draw)
        add = info.add_itxt if draw.random() < 0.5 else info.add_text
        add(draw.choice(KEYWORDS), text.replace("\x00", ""), zip=draw.random() < 0.3)
    out = io.BytesIO()
    picture.save(out, "PNG", pnginfo=info)
    return out.getvalue()


def _png_bomb(draw: random.Random, picture: PIL.Image.Image) -> bytes:
    """Compressed texts that grow a thousandfold, many of them."""
    out = io.BytesIO()
    picture.save(out, "PNG")
    data = out.getvalue()
    bomb = zlib.compress(draw.choice(b"A[{ ").to_bytes(1, "big") * 20_000_000)
    chunks = b""
    for number in range(draw.randrange(1, 60)):
        body = b"%s%d\x00\x00%s" % (draw.choice(KEYWORDS).encode(), number, bomb)
        chunks += png_chunk(b"zTXt", body)
    return data[:33] + chunks + data[33:]


def _carrier(draw: random.Random, picture: PIL.Image.Image) -> bytes:
    """EXIF text, user comment and XMP in JPEG, WebP, TIFF or AVIF."""
    image_format = draw.choice(("JPEG", "WEBP", "TIFF", "AVIF"))
    most = 20_000 if image_format == "JPEG" else 1_000_000
    block = PIL.Image.Exif()
    for tag in draw.sample((270, 271, 272, 305, 315), 3):
        block[tag] = _text(draw).encode("utf-8", "replace")[:most].decode("latin-1")
    kind = draw.choice((b"UNICODE\x00", b"ASCII\x00\x00\x00", b""))
    block.get_ifd(0x8769)[0x9286] = kind + _text(draw).encode("utf-16-be", "replace")[:most]
    out = io.BytesIO()
    packet = _text(draw).encode("utf-8", "replace")[: 3 * most]
    more = {"tiffinfo": {700: packet}} if image_format == "TIFF" else {"xmp": packet}
    try:
        picture.save(out, image_format, exif=block, **more)
    except (ValueError, OSError, struct.error):  # too large for the format
        picture.save(out, "JPEG")
    return out.getvalue()


def _exif_directory(draw: random.Random, picture: PIL.Image.Image) -> bytes:
    """A directory of as many entries as it can count, each with as large a value as there is."""
    count, order = 65_535, draw.choice("<>")
    tag = draw.choice((270, 305, 271, 34665, 700))
    length = draw.choice((1, 5, 999_999, 2**31, 2**32 - 1))
    entry = struct.pack(f"{order}HHII", tag, draw.choice((2, 7, 1, 4, 99)), length, 8)
    head = (b"II*\x00" if order == "<" else b"MM\x00*") + struct.pack(f"{order}I", 8)
    block = head + struct.pack(f"{order}H", count) + entry * count + bytes(1_000_000)
    if draw.random() < 0.5:
        return block  # a TIFF file
    out = io.BytesIO()
    picture.save(out, "WEBP", exif=b"Exif\x00\x00" + block)
    return out.getvalue()


def _c2pa(draw: random.Random, picture: PIL.Image.Image) -> bytes:
    """What claims to be a manifest: noise, or boxes that nest and lie about their lengths."""
    noise = draw.randbytes(draw.randrange(1, 5000))
    box = b"jumb" + struct.pack(">I", draw.choice((0, 1, 8, 2**32 - 1))) + b"jumd"
    body = draw.choice((noise, box * draw.randrange(1, 20_000), b"\x00\x00\x00\x08jumb" * 9999))
    out = io.BytesIO()
    picture.save(out, "PNG")
    data = out.getvalue()
    return data[:33] + png_chunk(b"caBX", body) + data[33:]


def problems_of(data: bytes) -> tuple[list[str], float]:
    """Read one file; return what went wrong, and the seconds."""
    start = time.process_time()
    try:
        origin = origin_from_file(data)
    except Exception as error:
        return [f"raised {type(error).__name__}: {error}"], time.process_time() - start
    seconds = time.process_time() - start
    problems = [f"took {seconds:.1f} s"] if seconds > LIMIT_S else []
    record = origin.to_dict()
    texts = [record["statement"] or "", *record["notes"]]
    for claim in record["claims"]:
        details = claim["details"]
        texts += [claim["generator"] or "", claim["version"] or "", claim["strength"]]
        texts += [*details, *details.values()]
    problems += [f"raw: {text[:40]!r}" for text in texts if not text.isprintable()]
    problems += ["long"] if any(len(text) > 5000 for text in texts) else []
    return problems, seconds


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    times: list[float] = []
    wrong = 0
    for name, data in hostile_files(arguments.files, arguments.seed):
        problems, seconds = problems_of(data)
        times.append(seconds)
        wrong += bool(problems)
        for problem in problems:
            print(f"{name}: {problem}", file=sys.stderr)
    times.sort()
    result = {"files": len(times), "seed": arguments.seed, "wrong": wrong}
    result |= {"median_ms": 1e3 * times[len(times) // 2], "max_ms": 1e3 * times[-1]}
    print(json.dumps(result))
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())
