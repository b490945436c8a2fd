from __future__ import annotations

import io
import struct
import time

import numpy as np
import pytest
from PIL import Image

from lineup.errors import ImageTooLargeError, UnreadableImageError, UnsupportedImageError
from lineup.imaging.decode import image_from_bytes

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK, LAB = 0, 1, 2, 5, 8


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [1, 2])
def test_8_bits(photo, tiff, order, planar):
    assert (image_from_bytes(tiff(photo, RGB, order=order, planar=planar)).pixels == photo).all()


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bits_are_rounded(photo, tiff, order):
    wide = photo.astype(np.uint16) * 257 - (photo > 0) * np.uint16(100)
    image = image_from_bytes(tiff(wide, RGB, order=order))
    assert (image.pixels == photo).all()
    assert image.notes == ("16-bit reduced to 8",)
    grey = image_from_bytes(tiff(wide[..., 1], BLACK_IS_ZERO, order=order))
    assert (grey.pixels[..., 0] == photo[..., 1]).all()


def test_white_is_zero(photo, tiff):
    image = image_from_bytes(tiff(photo[..., 0], WHITE_IS_ZERO))
    assert (image.pixels[..., 0] == 255 - photo[..., 0]).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_at_every_depth(photo, tiff, dtype, orientation):
    stored = photo.astype(dtype) * (257 if dtype is np.uint16 else 1)
    upright = image_from_bytes(tiff(stored, RGB, tags={274: orientation})).pixels
    expected = {
        1: photo,
        2: photo[:, ::-1],
        3: photo[::-1, ::-1],
        4: photo[::-1],
        5: photo.transpose(1, 0, 2),
        6: np.rot90(photo, -1),
        7: photo[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(photo),
    }[orientation]
    assert (upright == expected).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK"])
def test_modes(photo, encode, mode):
    data = encode(photo, "TIFF", mode=mode)
    reference = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert (image_from_bytes(data).pixels == reference).all()


@pytest.mark.parametrize("extra", [1, 2])
def test_premultiplied_and_straight_alpha(tiff, extra):
    straight = np.full((8, 8, 4), (200, 100, 40, 128), np.uint8)
    stored = straight.copy()
    if extra == 1:
        stored[..., :3] = np.round(straight[..., :3] * (128 / 255))
    image = image_from_bytes(tiff(stored, RGB, tags={338: extra}))
    expected = np.array((200, 100, 40)) * 128 / 255 + 127
    assert np.abs(image.pixels - expected).max() <= 1.5
    assert image.notes == ("alpha composited over white",)


def test_16_bit_straight_alpha(tiff):
    stored = np.full((8, 8, 4), (200 * 257, 100 * 257, 40 * 257, 128 * 257), np.uint16)
    image = image_from_bytes(tiff(stored, RGB, tags={338: 2}))
    assert np.abs(image.pixels - (np.array((200, 100, 40)) * 128 / 255 + 127)).max() <= 0.5


@pytest.mark.parametrize(
    ("shape", "dtype", "photometric", "options"),
    [
        ((8, 8, 3), np.uint16, RGB, {"planar": 2}),  # OpenCV mixes the planes
        ((8, 8, 4), np.uint16, RGB, {"tags": {338: 1}}),
        ((8, 8), np.uint16, WHITE_IS_ZERO, {}),
        ((8, 8, 4), np.uint16, CMYK, {}),
        ((8, 8, 2), np.uint16, BLACK_IS_ZERO, {"tags": {338: 2}}),
        ((8, 8), np.uint32, BLACK_IS_ZERO, {}),
        ((8, 8), np.int16, BLACK_IS_ZERO, {"tags": {339: 2}}),
        ((8, 8, 3), np.float32, RGB, {"tags": {339: 3}}),
        ((8, 8, 3), np.uint8, LAB, {}),
    ],
)
def test_layouts_without_an_exact_decoder(tiff, shape, dtype, photometric, options):
    with pytest.raises(UnsupportedImageError, match="has no exact decoder"):
        image_from_bytes(tiff(np.ones(shape, dtype), photometric, **options))


@pytest.mark.parametrize("tags", [{254: 1}, {50706: 0x01040000}])
def test_the_preview_of_a_camera_raw_file_is_not_taken_for_the_image(photo, tiff, tags):
    with pytest.raises(UnsupportedImageError, match="preview"):
        image_from_bytes(tiff(photo, RGB, tags=tags))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg", "packbits", "group4"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_truncated(photo, encode, compression, kept):
    mode = "1" if compression == "group4" else "RGB"
    data = encode(photo, "TIFF", mode=mode, compression=compression)
    image_from_bytes(data)
    with pytest.raises(UnreadableImageError, match="TIFF"):
        image_from_bytes(data[: int(len(data) * kept)])


def test_big_tiff(photo, encode):
    data = encode(photo, "TIFF", big_tiff=True)
    assert data[2] == 43
    assert (image_from_bytes(data).pixels == photo).all()


@pytest.mark.parametrize("tags", [{256: 60_000, 257: 60_000}, {322: 2**31, 323: 2**31}])
def test_sizes_over_the_limit(photo, tiff, tags):
    with pytest.raises(ImageTooLargeError):
        image_from_bytes(tiff(photo, RGB, tags=tags))


def test_a_loop_of_pages_ends(photo, tiff):
    data = bytearray(tiff(photo, RGB))
    first = struct.unpack_from("<I", data, 4)[0]
    following = first + 2 + 12 * struct.unpack_from("<H", data, first)[0]
    struct.pack_into("<I", data, following, first)
    assert image_from_bytes(bytes(data)).notes == ()


def test_a_tag_that_claims_too_many_values(photo, tiff):
    data = bytearray(tiff(photo, RGB))
    at = data.index(struct.pack("<HH", 273, 4))
    struct.pack_into("<I", data, at + 4, 2**31)
    with pytest.raises(UnreadableImageError, match="2147483648 values"):
        image_from_bytes(bytes(data))


UNSUPPORTED = [2**16 - 1, 6, 9, 32766, 32809, 33005, 34712, 34925, 50000, 50001, 50002, 65000]


@pytest.mark.parametrize("compression", UNSUPPORTED)
def test_compressions_without_a_decoder_are_not_supported(photo, tiff, compression, capfd):
    # A decoder that does not know one leaves the picture black and reports success.
    with pytest.raises(UnsupportedImageError, match=f"compression {compression} "):
        image_from_bytes(tiff(photo, RGB, tags={259: compression}))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("compression", [2, 4, 5, 7, 8, 32946, 32773])
def test_pixels_that_are_not_compressed_as_stated(photo, tiff, compression, capfd):
    with pytest.raises(UnreadableImageError, match="TIFF"):
        image_from_bytes(tiff(photo, RGB, tags={259: compression}))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_damaged_strips(photo, encode, compression, wide, capfd):
    pixels = photo[..., 0].astype(np.uint16) * 257 if wide else photo
    if wide and compression == "jpeg":
        pytest.skip("JPEG has 8 bits")
    data = bytearray(encode(pixels, "TIFF", compression=compression))
    image_from_bytes(bytes(data))
    # A run that is one byte longer, a code that does not exist.
    data[2000:2200] = b"\xff" * 200 if compression == "jpeg" else b"\x9f" * 200
    with pytest.raises(UnreadableImageError, match="damaged TIFF"):
        image_from_bytes(bytes(data))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({279: 32_399}, "0 of 1 strips or tiles are there in full"),
        ({279: 0}, "0 of 1 strips"),
        ({273: 0}, "0 of 1 strips"),
        ({278: 45}, "1 offsets and 1 sizes for 2 strips"),
        ({278: 0}, "expected at least 1 x 1"),
        ({257: 91}, "1 offsets and 1 sizes for 2 strips"),
        ({256: 121}, "0 of 1 strips"),
        ({322: 16, 323: 16}, "both strips and tiles"),
        ({277: 1, 338: 0}, "tag 338"),
    ],
)
def test_counts_that_do_not_fit(photo, tiff, tags, message):
    with pytest.raises(UnreadableImageError, match=message):
        image_from_bytes(tiff(photo, RGB, tags=tags))


def test_strips_that_repeat_others_are_noted(photo, tiff):
    data = bytearray(tiff(photo, RGB, planar=2))
    at = data.rindex(struct.pack("<III", 8, 8 + 10_800, 8 + 21_600))
    data[at : at + 12] = struct.pack("<III", 8, 8, 8)
    image = image_from_bytes(bytes(data))
    assert (image.pixels == photo[..., :1]).all()
    assert image.notes == ("2 of 3 strips or tiles repeat others",)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
def test_grey_of_every_depth(photo, tiff, bits, planar, photometric):
    values = photo[:, :117, 0] >> (8 - bits)
    rows = np.packbits(
        np.unpackbits(values[..., None], axis=2)[..., -bits:].reshape(90, -1), axis=1
    )
    image = image_from_bytes(tiff(rows, photometric, tags={256: 117, 258: bits, 284: planar}))
    grey = values * (255 // (2**bits - 1))
    assert (image.pixels[..., 0] == (grey if photometric else 255 - grey)).all()


def test_a_directory_of_every_byte_ends(photo, tiff):
    data = tiff(photo, RGB)
    with pytest.raises(UnreadableImageError, match="states 65535 tags"):
        image_from_bytes(data[:4] + struct.pack("<I", len(data)) + data[8:] + b"\xff" * 900_000)


@pytest.mark.parametrize(
    ("field", "code", "value"), [(0, "<H", 253), (2, "<H", 7), (2, "<H", 12), (4, "<I", 2)]
)
def test_a_compression_that_cannot_be_read(photo, encode, field, code, value):
    # Decoders take the packed bytes for pixels when the tag is hidden.
    data = bytearray(encode(photo, "TIFF", compression="tiff_lzw"))
    at = data.index(struct.pack("<HH", 259, 3))
    struct.pack_into(code, data, at + field, value)
    with pytest.raises(UnreadableImageError, match=r"damaged TIFF.* 259"):
        image_from_bytes(bytes(data))


def test_tags_out_of_order_are_noted(photo, tiff):
    data = bytearray(tiff(photo, RGB))
    at = data.index(struct.pack("<HH", 256, 4))
    data[at : at + 24] = data[at + 12 : at + 24] + data[at : at + 12]
    image = image_from_bytes(bytes(data))
    assert (image.pixels == photo).all()
    assert image.notes == ("its tags are out of order; it may be damaged",)


def test_a_tag_that_is_repeated_is_read_once():
    entry = struct.pack("<HHII", 273, 1, 1_000_000, 8)
    data = b"II*\x00" + struct.pack("<IH", 8, 65_535) + entry * 65_535 + bytes(1_000_000)
    start = time.process_time()
    with pytest.raises(UnreadableImageError):
        image_from_bytes(data)

    assert time.process_time() - start < 5  # each reading takes 20 ms
