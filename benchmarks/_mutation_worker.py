"""Files made from valid ones, and what becomes of each: the child of `mutations.py`.

A file is drawn from its seed and number alone, so that any one can be made again:
`mutated_from_number(seed_files(), seed, number)`.
"""

from __future__ import annotations

import io
import os
import random
import re
import resource
import struct
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import Image

from lineup.errors import ImageError
from lineup.imaging.decode import DecodedImage, image_from_bytes
from lineup.imaging.header import DecodeLimits

LIMITS = DecodeLimits(max_pixels=2_000_000)
ADDRESS_SPACE_BYTES = 8 * 2**30
HEIC = Path(__file__).parents[1] / "tests/engine/imaging/data/plain.heic"
SAME, CHANGED, NOTED, REFUSED = "same pixels", "changed unseen", "noted", "refused"
ESCAPED, OVERSEEN = "escaped", "changed, and another decoder warns"
OUTCOMES = (REFUSED, NOTED, SAME, CHANGED, OVERSEEN, ESCAPED)

_SILENT, _WARNINGS = 0, 3
_set_log_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
_RUNS = re.compile(
    rb"(IDAT|IHDR|PLTE|IEND|tRNS|VP8.|ANIM|ANMF|ALPH|\xff[\xc0-\xfe]|meta|mdat|iloc)"
)
_EXTREMES = (b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\1", b"\1\0")
_TIFF_TAGS = (256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file.

    Attributes:
        kind: Name of the valid file that it was made from.
        result: One of `OUTCOMES`.
        milliseconds: Time to decode it.
        has_printed: Whether anything went to stderr.
        detail: Of an exception that is no ImageError.
    """

    kind: str
    result: str
    milliseconds: float
    has_printed: bool
    detail: str = ""


def _pixels() -> Any:
    y, x = np.mgrid[0:72, 0:96]
    smooth = [127 + 90 * np.sin(x / 17 + i) * np.cos(y / 13 + 2 * i) for i in range(3)]
    noise = np.random.default_rng(0).normal(0, 8, (72, 96, 3))
    return np.clip(np.stack(smooth, -1) + noise, 0, 255).astype(np.uint8)


def seed_files() -> dict[str, bytes]:
    """Return valid files of every format, by name: the format, then what is special."""
    photo = Image.fromarray(_pixels())
    frames = {"save_all": True, "append_images": [photo.transpose(Image.Transpose.ROTATE_180)]}
    wide = _pixels()[..., ::-1].astype(np.uint16) * 257
    return {
        "jpeg": _saved(photo, "JPEG"),
        "jpeg progressive": _saved(photo, "JPEG", progressive=True),
        "jpeg restarts": _saved(photo, "JPEG", restart_marker_rows=1, subsampling=0),
        "jpeg grey": _saved(photo.convert("L"), "JPEG", quality=90),
        "jpeg cmyk": _saved(photo.convert("CMYK"), "JPEG"),
        "png": _many_chunks(_saved(photo, "PNG")),
        "png palette": _saved(photo.quantize(64), "PNG"),
        "png 16 bits": cv2.imencode(".png", wide)[1].tobytes(),
        "webp": _saved(photo, "WEBP"),
        "webp lossless": _saved(photo, "WEBP", lossless=True),
        "webp animated": _saved(photo, "WEBP", **frames),
        "tiff": _saved(photo, "TIFF"),
        "tiff lzw": _saved(photo, "TIFF", compression="tiff_lzw"),
        "tiff deflate": _saved(photo, "TIFF", compression="tiff_adobe_deflate"),
        "tiff packbits": _saved(photo, "TIFF", compression="packbits"),
        "tiff jpeg": _saved(photo, "TIFF", compression="jpeg"),
        "tiff 16 bits": cv2.imencode(".tiff", wide)[1].tobytes(),
        "bmp": _saved(photo, "BMP"),
        "bmp palette": _saved(photo.quantize(64), "BMP"),
        "gif": _saved(photo, "GIF"),
        "gif animated": _saved(photo, "GIF", **frames),
        "avif": _saved(photo, "AVIF"),
        "heic": HEIC.read_bytes(),
    }


def _saved(image: Image.Image, image_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def _many_chunks(png: bytes) -> bytes:
    """Return a PNG with its image data in chunks of 2,048 bytes, as large files have them."""
    start = png.index(b"IDAT") + 4
    end = start + int.from_bytes(png[start - 8 : start - 4], "big")
    pieces = [png[at : min(at + 2048, end)] for at in range(start, end, 2048)]
    return png[: start - 8] + b"".join(png_chunk(b"IDAT", one) for one in pieces) + png[end + 4 :]


def png_chunk(name: bytes, payload: bytes) -> bytes:
    """Return a chunk of a PNG, with its length and checksum."""
    checksum = zlib.crc32(name + payload)
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", checksum)


def mutated_from_number(
    files: dict[str, bytes], seed: int, number: int
) -> tuple[str, bytes, Sequence[str]]:
    """Return the kind of a file, the file, and the valid files that it was made from."""
    draw = random.Random(f"{seed}/{number}")  # noqa: S311 - no secret
    kinds = sorted(files)
    kind = kinds[number % len(kinds)]
    others = [other for other in kinds if other.split()[0] == kind.split()[0]]
    other = draw.choice(others)
    data = bytearray(files[kind])
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        draw.choice(_MUTATIONS)(data, draw, files[other])
    repaired = bytes(data)
    if draw.random() < 0.7:  # damage that no checksum or length shows
        repaired = _repaired(repaired)
    return kind, repaired, (kind, other)


def _flip(data: bytearray, draw: random.Random, _other: bytes) -> None:
    for _ in range(draw.choice((1, 1, 2, 8))):
        if data:
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _write(data: bytearray, draw: random.Random, _other: bytes) -> None:
    at, size = draw.randrange(len(data) + 1), draw.choice((1, 4, 16, 64))
    data[at : at + size] = draw.randbytes(min(size, len(data) - at))


def _cut(data: bytearray, draw: random.Random, _other: bytes) -> None:
    """Cut the end off; in half of the cases the last bytes stay, which close the file."""
    at = draw.randrange(len(data) + 1)
    end = data[-draw.choice((2, 12)) :] if draw.random() < 0.5 else b""
    data[at:] = end


def _remove(data: bytearray, draw: random.Random, _other: bytes) -> None:
    at = draw.randrange(len(data) + 1)
    del data[at : at + draw.randrange(1, max(2, len(data) // 3))]


def _repeat(data: bytearray, draw: random.Random, _other: bytes) -> None:
    at = draw.randrange(len(data) + 1)
    data[at:at] = data[at : at + draw.randrange(1, max(2, len(data) // 3))]


def _splice(data: bytearray, draw: random.Random, other: bytes) -> None:
    """Go on as another file of the format does."""
    share = draw.random()
    data[int(share * len(data)) :] = other[int(share * len(other)) :]


def _swap(data: bytearray, draw: random.Random, _other: bytes) -> None:
    """Exchange or drop parts that begin where a chunk, segment or box does."""
    starts = sorted({max(0, found.start() - 4) for found in _RUNS.finditer(data)} | {len(data)})
    if len(starts) < 4:
        return
    first, second = sorted(draw.sample(range(len(starts) - 1), 2))
    one = data[starts[first] : starts[first + 1]]
    two = data[starts[second] : starts[second + 1]]
    middle = data[starts[first + 1] : starts[second]]
    kept = one if draw.random() < 0.5 else b""
    data[starts[first] : starts[second + 1]] = two + middle + kept


def _extreme(data: bytearray, draw: random.Random, _other: bytes) -> None:
    """Write what a reader of headers may stumble over."""
    value = draw.choice(_EXTREMES)
    at = draw.randrange(max(1, min(len(data), draw.choice((32, 256, len(data) + 1)))))
    data[at : at + len(value)] = value


def _tag(data: bytearray, draw: random.Random, _other: bytes) -> None:
    """Change a tag of a TIFF file."""
    tag = struct.pack("<H", draw.choice(_TIFF_TAGS))
    at = data.rfind(tag)
    if data[:2] == b"II" and 0 <= at <= len(data) - 12:
        field, size = draw.choice(((2, 2), (4, 4), (8, 4)))
        value = draw.choice((0, 1, 2, 7, 8, 33005, 34712, 50002, 65535, draw.randrange(2**16)))
        data[at + field : at + field + size] = value.to_bytes(size, "little")


_MUTATIONS = (_flip, _write, _cut, _remove, _repeat, _splice, _swap, _extreme, _tag)


def _repaired(data: bytes) -> bytes:
    """Return a PNG with right checksums, a WebP with the right length; others as they are."""
    if data[:4] == b"RIFF":
        return data[:4] + struct.pack("<I", max(0, len(data) - 8)) + data[8:]
    if data[:4] != b"\x89PNG":
        return data
    out, at = data[:8], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + size > len(data):
            break
        out += png_chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + size])
        at += 12 + size
    return out + data[at:]


def _with_opencv(data: bytes) -> Any:
    _set_log_level(_WARNINGS)
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    finally:
        _set_log_level(_SILENT)


def _with_pillow(data: bytes) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return np.asarray(Image.open(io.BytesIO(data)))


class Judge:
    """Decodes files, and asks other decoders about those whose damage went unseen.

    Args:
        files: Valid files by name.
        printed: What file descriptor 2 writes to.
    """

    def __init__(self, files: dict[str, bytes], printed: BinaryIO) -> None:
        self._printed = printed
        self._whole = {name: image_from_bytes(data) for name, data in files.items()}
        self._references = {
            # OpenCV's own decoder refuses valid GIF files, too.
            name: [
                one
                for one in (_with_opencv, _with_pillow)
                if self._accepts(one, data) and (one is _with_pillow or "gif" not in name)
            ]
            for name, data in files.items()
        }

    def outcome(self, kind: str, data: bytes, origins: Sequence[str]) -> Outcome:
        """Decode a file and return what became of it."""
        before = self._size()
        started = time.perf_counter()
        detail = ""
        try:
            image = image_from_bytes(data, limits=LIMITS)
        except ImageError:
            result = REFUSED
        except BaseException as error:  # an escape is what is looked for
            result, detail = ESCAPED, repr(error)
        else:
            result = ""
        elapsed_ms = (time.perf_counter() - started) * 1e3
        has_printed = self._size() != before
        if not result:
            result = self._result(kind, image, data, origins)
        return Outcome(kind, result, elapsed_ms, has_printed, detail)

    def _result(self, kind: str, image: DecodedImage, data: bytes, origins: Sequence[str]) -> str:
        whole = [self._whole[origin] for origin in origins]
        if any(np.array_equal(image.pixels, one.pixels) for one in whole):
            return SAME
        if all(image.notes != one.notes for one in whole):
            return NOTED
        if all(self._accepts(one, data) for one in self._references[kind]):
            return CHANGED
        return OVERSEEN

    def _accepts(self, decode: Callable[[bytes], Any], data: bytes) -> bool:
        """Whether a decoder returns pixels and says nothing."""
        before = self._size()
        try:
            return decode(data) is not None and self._size() == before
        except Exception:
            return False

    def _size(self) -> int:
        return os.fstat(self._printed.fileno()).st_size


def resident_mib() -> float:
    """Return the memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def work(connection: Connection, seed: int, first: int, count: int, step: int) -> None:
    """Send an Outcome and the resident memory in MiB for every file of this worker, in order."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    cv2.setNumThreads(1)
    with tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), 2)
        files = seed_files()
        judge = Judge(files, printed)
        for number in range(first, count, step):
            kind, data, origins = mutated_from_number(files, seed, number)
            connection.send((number, judge.outcome(kind, data, origins), resident_mib()))
    connection.close()
