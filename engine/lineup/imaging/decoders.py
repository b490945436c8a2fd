"""From files to upright 8-bit RGB: OpenCV; Pillow for what it gets wrong; libheif.

OpenCV decodes without the GIL. Pillow's plugin classes
are opened directly: `PIL.Image.open` guesses the format again, and has a pixel limit of its own,
which warns. They read headers only; pixels come with `load`. HEIC takes libheif, through `pi_heif`
(pillow-heif without its encoders).
"""

from __future__ import annotations

import ctypes
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    _imaging,
    features,
)

from lineup.errors import ImageTooLargeError, UnreadableImageError, UnsupportedImageError
from lineup.imaging.header import DecodeLimits, Decoder, Header, ImageFormat
from lineup.imaging.tiff import orientation_from_exif
from lineup.types import AnyArray, RgbImage

if TYPE_CHECKING:
    from pi_heif import HeifFile

_OPAQUE = 255

# Unless the user asked for it, OpenCV must not write to stderr, where progress is shown.
if "OPENCV_LOG_LEVEL" not in os.environ:
    # OpenCV 5 moved the function.
    (cv2.utils.logging if hasattr(cv2.utils, "logging") else cv2).setLogLevel(0)
# Pillow raises what libtiff reports, and lets libtiff print it as well. Not where it is linked in.
_handle_tiff_errors = getattr(ctypes.CDLL(_imaging.__file__), "TIFFSetErrorHandler", None)
if _handle_tiff_errors:
    _handle_tiff_errors(None)


@dataclass(frozen=True, slots=True)
class Raster:
    """Decoded pixels in the channels of the file.

    Attributes:
        pixels: Shape (height, width) for grey, (height, width, 3) for RGB or (height, width, 4) for
            RGB and straight alpha; uint8 0..255, or uint16 0..2**bit_depth - 1.
        bit_depth: Bits per channel of the file, also when `pixels` were reduced by the decoder.
        orientation: EXIF orientation that is still to be applied, 1..8.
        notes: Remarks for the user.
    """

    pixels: AnyArray
    bit_depth: int
    orientation: int = 1
    notes: tuple[str, ...] = ()


def raster_from_opencv(header: Header) -> Raster:
    """Decode the first image of a file as it is stored.

    Raises:
        UnreadableImageError: OpenCV cannot decode it.
        ImageTooLargeError: Over a limit that the user set for OpenCV.
    """
    # UNCHANGED keeps 16 bits and alpha, and leaves the orientation to lineup.
    try:
        decoded = cv2.imdecode(np.frombuffer(header.stream, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        if "CV_IO_MAX_IMAGE" in str(error):
            raise ImageTooLargeError(
                f"{header.width_px:,} x {header.height_px:,} pixels are over the limit of OpenCV",
                hint="Raise or unset OPENCV_IO_MAX_IMAGE_PIXELS (and _WIDTH, _HEIGHT).",
            ) from None
        raise
    if decoded is None:
        raise UnreadableImageError(
            f"damaged {header.format.value.upper()}: its image data cannot be decoded",
            hint="Get a complete copy of the file, or save it again as PNG.",
        )
    if decoded.shape[:2] != (header.height_px, header.width_px):
        raise UnreadableImageError(
            f"damaged {header.format.value.upper()}: its header states {header.width_px} x "
            f"{header.height_px} pixels, its data hold {decoded.shape[1]} x {decoded.shape[0]}"
        )
    return Raster(
        pixels=_rgb_order(decoded, header.transparent_grey),
        bit_depth=header.bit_depth,
        orientation=header.orientation,
        notes=header.notes,
    )


def _rgb_order(pixels: AnyArray, transparent_grey: int | None) -> AnyArray:
    """Return OpenCV's grey, BGR or BGRA pixels as grey, RGB or RGBA."""
    if pixels.ndim == 3:
        order = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
        return cv2.cvtColor(pixels, order)
    if transparent_grey is None:
        return pixels
    opaque = np.iinfo(pixels.dtype).max
    alpha = np.where(pixels == transparent_grey, 0, opaque).astype(pixels.dtype)
    return cv2.merge([pixels, pixels, pixels, alpha])


_PLUGINS: dict[ImageFormat, type[ImageFile.ImageFile]] = {
    ImageFormat.AVIF: AvifImagePlugin.AvifImageFile,
    ImageFormat.BMP: BmpImagePlugin.BmpImageFile,
    ImageFormat.GIF: GifImagePlugin.GifImageFile,
    ImageFormat.JPEG: JpegImagePlugin.JpegImageFile,
    ImageFormat.TIFF: TiffImagePlugin.TiffImageFile,
    ImageFormat.WEBP: WebPImagePlugin.WebPImageFile,
}
_PILLOW_READS_HEADER = frozenset({ImageFormat.AVIF, ImageFormat.GIF})
COLOUR_MODES = frozenset(
    {"1", "L", "P", "RGB", "RGBX", "YCbCr", "CMYK", "LA", "PA", "RGBA", "RGBa"}
)
_GREY_MODES = frozenset({"1", "L"})

_warnings_lock = threading.Lock()


def raster_from_pillow(header: Header, limits: DecodeLimits) -> Raster:
    """Decode the first image of a file whose structure was read.

    Raises:
        UnsupportedImageError: A colour model that has no defined conversion to RGB.
        ImageTooLargeError: The decoder sees a larger image than the header, over the limits.
    """
    with _opened(header.stream, header.format) as image:
        limits.check_pixels(*image.size)
        frames = _frame_note(image) if header.format in _PILLOW_READS_HEADER else ()
        pixels, notes = pixels_from_pillow(image)
    if header.format is ImageFormat.AVIF and _is_corrupt_for_opencv(header.stream):
        notes += ("its image data may be damaged: libaom refuses them",)
    return Raster(
        pixels=pixels,
        bit_depth=header.bit_depth,
        orientation=header.orientation,
        notes=header.notes + frames + notes,
    )


def _is_corrupt_for_opencv(data: bytes) -> bool:
    """Whether OpenCV's libaom finds an AVIF file corrupt; Pillow's dav1d takes nearly any bits."""
    if not cv2.haveImageWriter("image.avif"):  # nor a reader, in this build
        return False
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) is None
    except cv2.error:  # a limit that the user set
        return False


def header_from_frames(image_format: ImageFormat, data: bytes, limits: DecodeLimits) -> Header:
    """Read the structure of a GIF or AVIF file; only some builds of OpenCV can decode them.

    Raises:
        UnsupportedImageError: This build of Pillow has no AVIF decoder.
        ImageTooLargeError: Over the limits.
    """
    is_avif = image_format is ImageFormat.AVIF
    with _opened(data, image_format) as image:
        limits.check_pixels(*image.size)
        # libavif leaves the rotation and mirror boxes to the caller; Pillow states them as EXIF.
        orientation = orientation_from_exif(image.info.get("exif", b"")) if is_avif else 1
        return Header(
            image_format,
            *image.size,
            bit_depth=_avif_bit_depth(data) if is_avif else 8,
            stream=data,
            decoder=Decoder.PILLOW,
            orientation=orientation,
        )


@contextmanager
def _opened(data: bytes, image_format: ImageFormat) -> Iterator[ImageFile.ImageFile]:
    """Open a file without decoding it."""
    if image_format is ImageFormat.AVIF and not features.check("avif"):
        raise UnsupportedImageError(
            "AVIF needs a build of Pillow with libavif",
            hint="Install Pillow 11.3 or later from PyPI: pip install --upgrade pillow",
        )
    try:
        with _without_warnings():
            image = _PLUGINS[image_format](BytesIO(data))
    except Image.DecompressionBombError as error:
        # A GIF whose first frame is larger than its screen.
        raise ImageTooLargeError(str(error)) from None
    with image:
        yield image


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep Pillow from warning about odd metadata and large frames.

    Python's warning filters are global, so one thread at a time may change and restore them.
    """
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _frame_note(image: ImageFile.ImageFile) -> tuple[str, ...]:
    """Go to the first frame; say of how many it is the first."""
    with _without_warnings():
        count = int(getattr(image, "n_frames", 1))
        image.seek(0)
    return (f"first of {count} frames",) if count > 1 else ()


def pixels_from_pillow(image: Image.Image) -> tuple[AnyArray, tuple[str, ...]]:
    """Decode to grey, RGB or RGBA as `Raster` has them, with remarks."""
    if image.mode not in COLOUR_MODES:
        raise UnsupportedImageError(
            f"pixels of mode {image.mode} have no defined conversion to 8-bit RGB",
            hint="Save the image as 8-bit RGB.",
        )
    if image.mode == "CMYK":
        # Without the profile, as browsers do: what matters is the same arithmetic everywhere.
        return np.array(image.convert("RGB")), ("CMYK converted to RGB",)
    if image.has_transparency_data:
        return np.array(image.convert("RGBA")), ()
    return np.array(image.convert("L" if image.mode in _GREY_MODES else "RGB")), ()


def _avif_bit_depth(data: bytes) -> int:
    """Read the depth from the codec configuration box (AV1 in ISOBMFF, section 2.3.3)."""
    at = data.find(b"av1C")
    flags = data[at + 6] if 0 <= at < len(data) - 6 else 0
    is_high, is_twelve = flags & 0x40, flags & 0x20
    return (12 if is_twelve else 10) if is_high else 8


def header_from_heif(data: bytes, limits: DecodeLimits) -> Header:
    """Read the structure of a HEIC file; the image is its primary picture.

    Raises:
        UnsupportedImageError: No decoder is installed.
        ImageTooLargeError: Over the limits.
    """
    container = _opened_heif(data)
    limits.check_pixels(*container.size)
    width_px, height_px = container.size
    bit_depth = int(container.info["bit_depth"])
    return Header(ImageFormat.HEIC, width_px, height_px, bit_depth, data, Decoder.LIBHEIF)


def raster_from_heif(header: Header) -> Raster:
    """Decode the primary picture of a HEIC file.

    libheif turns it as its `irot` and `imir` boxes say. The EXIF orientation is not applied: the
    standard (ISO/IEC 23008-12, annex A) makes it informative, and cameras write both.

    Raises:
        UnsupportedImageError: Premultiplied alpha.
    """
    container = _opened_heif(header.stream)
    if container.premultiplied_alpha:
        raise UnsupportedImageError("HEIC with premultiplied alpha has no exact decoder")
    count = len(container)
    return Raster(
        pixels=np.array(container[container.primary_index]),
        bit_depth=header.bit_depth,
        notes=(f"primary of {count} pictures",) if count > 1 else (),
    )


def _opened_heif(data: bytes) -> HeifFile:
    """Open a file without decoding it."""
    try:
        import pi_heif  # noqa: PLC0415 - loads libheif, which few scans need
    except ImportError:
        raise UnsupportedImageError(
            "HEIC needs the package pi-heif", hint="Install it: pip install pi-heif"
        ) from None
    return pi_heif.open_heif(data, convert_hdr_to_8bit=False, hdr_to_16bit=False)


def rgb_from_raster(raster: Raster) -> tuple[RgbImage, tuple[str, ...]]:
    """Convert decoded pixels to upright 8-bit RGB.

    Returns:
        Pixels of shape (height, width, 3), uint8, and the remarks on what was converted.
    """
    pixels, notes = raster.pixels, list(raster.notes)
    if raster.bit_depth > 8:
        notes.append(f"{raster.bit_depth}-bit reduced to 8")
    if pixels.dtype == np.uint16:
        pixels = _reduced_to_8_bits(pixels, raster.bit_depth)
    if pixels.ndim == 2:
        notes.append("grey expanded to RGB")
        pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    elif pixels.shape[2] == 4:
        if pixels[..., 3].min() < _OPAQUE:
            notes.append("alpha composited over white")
            pixels = _composited_over_white(pixels)
        else:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB)
    if raster.orientation != 1:
        notes.append(f"orientation {raster.orientation} applied")
        pixels = upright_from_stored(pixels, raster.orientation)
    return np.ascontiguousarray(pixels), tuple(notes)


def upright_from_stored(pixels: AnyArray, orientation: int) -> AnyArray:
    """Turn an image as EXIF 2.32, tag 274 (Orientation) says.

    Args:
        pixels: Shape (height, width) or (height, width, channels).
        orientation: Which sides the stored first row and column are, 1..8.

    Returns:
        The upright image; sides are swapped for 5 to 8.
    """
    if orientation in (5, 6, 7, 8):
        pixels = cv2.transpose(pixels)
    # What is left after the transposition: 0 turns top and bottom, 1 left and right, -1 both.
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return pixels if flip is None else cv2.flip(pixels, flip)


def _reduced_to_8_bits(pixels: AnyArray, bit_depth: int) -> AnyArray:
    """Scale so that white stays white, and round; at 16 bits this is v / 257, without ties."""
    return cv2.convertScaleAbs(pixels, alpha=255 / ((1 << bit_depth) - 1))


def _composited_over_white(rgba: AnyArray) -> AnyArray:
    """Return round((colour * alpha + 255 * (255 - alpha)) / 255) of uint8 RGBA, shape (h, w, 4)."""
    rgb = np.empty((*rgba.shape[:2], 3), np.uint8)
    alpha = rgba[..., 3].astype(np.uint16)
    white = (_OPAQUE - alpha) * _OPAQUE + _OPAQUE // 2  # the half rounds; the sum stays below 2**16
    for channel in range(3):
        rgb[..., channel] = (rgba[..., channel] * alpha + white) // _OPAQUE
    return rgb
