"""The one reader: whatever can be an image in, one decoded picture with its identity out.

    path (str or Path), bytes, file object    an image file, decoded as `lineup.imaging` decodes it
    PIL image                                 its pixels, with the EXIF orientation applied
    NumPy array                               RGB, grey or RGBA; uint8, uint16, or floats in 0..1

`lineup.engine.Engine` reads with it, so every question about an image takes all of these.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import PIL.Image

from lineup.errors import ImageError, UnreadableImageError, UsageError
from lineup.files import sha256_from_bytes
from lineup.imaging.decode import bytes_from_path, image_from_bytes
from lineup.imaging.decoders import COLOUR_MODES, Raster, pixels_from_pillow, rgb_from_raster
from lineup.imaging.header import DEFAULT_LIMITS, DecodeLimits
from lineup.imaging.tiff import ORIENTATION
from lineup.origin import origin_from_file
from lineup.results import StageTimes

if TYPE_CHECKING:
    from typing import TypeAlias

    from lineup.claims import Origin
    from lineup.types import AnyArray, RgbImage

    File: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
    AnyImage: TypeAlias = "File | PIL.Image.Image | AnyArray | ReadImage"

EXPECTED = (
    "Expected a path, the bytes of an image file, a binary file object, a PIL image, or an array: "
    "(height, width), (height, width, 3) RGB or (height, width, 4) RGBA, of uint8, uint16, or "
    "floats in 0..1."
)
_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
_FLOAT_TOLERANCE = 1e-6
"""How far floats may leave 0..1 by rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class ReadImage:
    """A decoded picture and what identifies it.

    Attributes:
        pixels: Shape (height, width, 3), uint8, 0..255, RGB order, upright.
        sha256: Hex digest of the file's bytes; of an image that is no file, of its pixels.
        path: The file as it was named; None for an image that is no file.
        size_bytes: Length of the file; None for an image that is no file.
        format: "jpeg", "png", ...; None for an image that is no file.
        notes: What was converted or ignored, e.g. "16-bit reduced to 8".
        origin: What the file declares; None where nobody asked.
        ms: Reading with hashing, and decoding to upright RGB.
    """

    pixels: RgbImage
    sha256: str
    path: str | None = None
    size_bytes: int | None = None
    format: str | None = None
    notes: tuple[str, ...] = ()
    origin: Origin | None = None
    ms: StageTimes = StageTimes()  # noqa: RUF009 - frozen, so sharing one is safe

    @property
    def error(self) -> None:
        """Nothing: what cannot be read is raised. Images of a stream tell it here."""
        return None

    @property
    def width_px(self) -> int:
        """Width of the upright image in pixels."""
        return int(self.pixels.shape[1])

    @property
    def height_px(self) -> int:
        """Height of the upright image in pixels."""
        return int(self.pixels.shape[0])


def read_image(
    image: AnyImage, *, limits: DecodeLimits = DEFAULT_LIMITS, origin: bool = False
) -> ReadImage:
    """Read and decode one image.

    Args:
        image: See the module; pixels are copied, and never resized.
        limits: Sizes that are refused before anything is decoded.
        origin: Whether what a file declares of its origin is read as well.

    Raises:
        ImageError: It cannot be read or decoded, is too large, or its values are none of an image;
            the message names the file where there is one.
        UsageError: It is of a type or shape that is no image.
    """
    start = time.perf_counter()
    if isinstance(image, ReadImage):
        return image
    if isinstance(image, str | os.PathLike):
        path = Path(os.fsdecode(image))
        data = bytes_from_path(path, limits=limits)
        return _from_file(data, path, start, limits, origin=origin)
    if isinstance(image, memoryview) and (image.ndim != 1 or image.itemsize != 1):
        raise UsageError(
            f"A memoryview of shape {image.shape} is no file's bytes.",
            hint="Give pixels as an array: numpy.asarray(view).",
        )
    if isinstance(image, bytes | bytearray | memoryview):
        return _from_file(bytes(image), None, start, limits, origin=origin)
    if isinstance(image, np.ndarray):
        return _from_raster(_raster_from_array(image, limits), start)
    if isinstance(image, PIL.Image.Image):
        return _from_raster(_raster_from_pil(image, limits), start)
    if hasattr(image, "read"):
        return _from_stream(image, start, limits, origin=origin)
    raise UsageError(f"An object of type {type(image).__name__} is no image.", hint=EXPECTED)


def _from_stream(
    stream: BinaryIO, start: float, limits: DecodeLimits, *, origin: bool
) -> ReadImage:
    name = getattr(stream, "name", None)
    path = Path(name) if isinstance(name, str) else None
    try:
        data = _content(stream, limits)
    except (OSError, ValueError) as error:  # closed, not open for reading, or failing
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadableImageError(
            f"{path or 'The file object'} cannot be read: {reason}"
        ) from error
    except (TypeError, AttributeError) as error:
        raise UsageError(
            f"An object of type {type(stream).__name__} reads no bytes: {error}", hint=EXPECTED
        ) from error
    return _from_file(data, path, start, limits, origin=origin)


def _content(stream: BinaryIO, limits: DecodeLimits) -> bytes:
    """Read to the end, or one byte over the limit: pipes give less at a time than is asked for."""
    parts: list[bytes] = []
    missing = limits.max_bytes + 1
    while missing > 0 and (part := stream.read(missing)):
        if not isinstance(part, bytes | bytearray):
            raise UsageError(
                f"The file object gave {type(part).__name__}, not bytes.",
                hint="Open it in mode 'rb'.",
            )
        parts.append(bytes(part))
        missing -= len(part)
    return b"".join(parts)


def _from_file(
    data: bytes, path: Path | None, start: float, limits: DecodeLimits, *, origin: bool
) -> ReadImage:
    sha256 = sha256_from_bytes(data)
    read = time.perf_counter()
    try:
        image = image_from_bytes(data, limits=limits)
    except ImageError as error:
        if path is None:
            raise
        raise type(error)(f"{path}: {error.message}", hint=error.hint) from error
    declared = origin_from_file(data, image) if origin else None
    return ReadImage(
        pixels=image.pixels,
        sha256=sha256,
        path=None if path is None else str(path),
        size_bytes=len(data),
        format=image.format,
        notes=image.notes,
        origin=declared,
        ms=StageTimes(read=(read - start) * 1e3, decode=(time.perf_counter() - read) * 1e3),
    )


def _from_raster(raster: Raster, start: float) -> ReadImage:
    pixels, notes = rgb_from_raster(raster)
    read = time.perf_counter()
    shape = np.asarray(pixels.shape, np.int64).tobytes()
    digest = sha256_from_bytes(shape + pixels.tobytes())
    return ReadImage(
        pixels=pixels,
        sha256=digest,
        notes=notes,
        ms=StageTimes(read=(time.perf_counter() - read) * 1e3, decode=(read - start) * 1e3),
    )


def _raster_from_array(array: AnyArray, limits: DecodeLimits) -> Raster:
    """Return an array as a decoder would have returned it, in memory of its own."""
    given = f"An array of shape {array.shape} and type {array.dtype}"
    if isinstance(array, np.ma.MaskedArray):
        raise UsageError("A masked array is no image.", hint="Fill it first: array.filled(0).")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        is_channels_first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        hint = "Put the channels last: numpy.moveaxis(array, 0, -1)." if is_channels_first else None
        raise UsageError(f"{given} is no image. {EXPECTED}", hint=hint)
    if array.size == 0:
        raise ImageError(f"{given} has no pixels; expected at least 1 x 1.")
    limits.check_pixels(array.shape[1], array.shape[0])
    # By kind and size, so that either byte order will do.
    match array.dtype.kind, array.dtype.itemsize:
        case "u", 1:
            return Raster(np.array(array, order="C"), bit_depth=8)
        case "u", 2:
            return Raster(np.array(array, np.uint16, order="C"), bit_depth=16)
        case "f", (2 | 4 | 8):
            pixels = _bytes_from_floats(array)
            return Raster(pixels, bit_depth=8, notes=("floats rounded to 8 bits",))
        case "b", _:
            hint = "Convert it: array.astype('uint8') * 255."
        case "i" | "u", _:
            hint = "Convert it, if its values are 0..255: array.astype('uint8')."
        case _:
            hint = None
    raise UsageError(f"{given} is no image. {EXPECTED}", hint=hint)


def _bytes_from_floats(array: AnyArray) -> AnyArray:
    low, high = float(array.min()), float(array.max())
    # "not" because a comparison with NaN is false.
    if not (low >= -_FLOAT_TOLERANCE and high <= 1 + _FLOAT_TOLERANCE):
        raise ImageError(
            f"The floats of an image lie in 0..1; these go from {low:g} to {high:g}.",
            hint="Divide by 255." if low >= 0 and 1 < high <= 255 else None,
        )
    scaled = np.rint(np.clip(array, 0, 1).astype(np.float64) * 255)
    return np.ascontiguousarray(scaled.astype(np.uint8))


def _raster_from_pil(image: PIL.Image.Image, limits: DecodeLimits) -> Raster:
    """Return the pixels of a PIL image; its file is read now, if it was not yet."""
    limits.check_pixels(image.width, image.height)
    if image.mode not in (*COLOUR_MODES, *_DEEP_MODES):
        raise UsageError(
            f"A PIL image of mode {image.mode} is no image that is read here.",
            hint="Convert it first: image.convert('RGB').",
        )
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
        if image.mode in _DEEP_MODES:
            raster = Raster(np.asarray(image).astype(np.uint16), bit_depth=16)
        else:
            pixels, notes = pixels_from_pillow(image)
            raster = Raster(pixels, bit_depth=8, notes=notes)
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise ImageError(f"The PIL image cannot be read: {error}") from error
    return replace(raster, orientation=orientation if orientation in range(1, 9) else 1)
