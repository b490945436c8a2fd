"""Completeness of JPEG files."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from lineup.errors import ImageTooLargeError, UnreadableImageError, UnsupportedImageError
from lineup.imaging.decode import image_from_bytes
from lineup.imaging.header import DecodeLimits
from lineup.imaging.jpeg import header_from_jpeg

KINDS = [
    {"quality": 90, "subsampling": 0},
    {"quality": 75, "subsampling": 2},
    {"quality": 85, "progressive": True},
    {"quality": 60, "restart_marker_rows": 1},
]


@pytest.fixture(params=KINDS, ids=lambda kind: "-".join(map(str, kind)))
def jpeg(request, photo, encode):
    return encode(photo, "JPEG", **request.param)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95, 0.99])
def test_truncated(jpeg, kept):
    with pytest.raises(UnreadableImageError, match="truncated JPEG"):
        image_from_bytes(jpeg[: int(len(jpeg) * kept)])


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_truncated_in_spite_of_the_end_marker_of_a_thumbnail(photo, encode, kept):
    # The thumbnail is a whole JPEG file inside of the EXIF block.
    thumbnail = b"Exif\0\0" + encode(photo[:8, :8], "JPEG")
    data = encode(photo, "JPEG", exif=thumbnail)
    assert data.count(b"\xff\xd9") == 2
    with pytest.raises(UnreadableImageError):
        image_from_bytes(data[: int(len(data) * kept)])


@pytest.mark.parametrize("cut", [1, 2])
def test_a_missing_end_marker_alone_is_accepted_and_noted(photo, encode, cut):
    data = encode(photo, "JPEG", quality=90)
    image = image_from_bytes(data[:-cut])
    assert (image.pixels == image_from_bytes(data).pixels).all()
    assert image.notes == ("end marker missing, image data complete",)


def test_every_cut_into_the_image_data_is_found_or_harmless(photo, encode):
    data = encode(photo, "JPEG", quality=90)
    whole = image_from_bytes(data).pixels
    refused = 0
    for cut in range(3, 40):
        try:
            pixels = image_from_bytes(data[:-cut]).pixels
        except UnreadableImageError:
            refused += 1
        else:
            assert (pixels == whole).all()
    assert refused >= 34


def test_a_missing_end_marker_after_several_scans_is_refused(photo, encode):
    # A progressive file that was cut between two scans looks exactly like this.
    data = encode(photo, "JPEG", progressive=True)
    with pytest.raises(UnreadableImageError, match="truncated"):
        image_from_bytes(data[:-2])


def test_what_follows_the_end_is_ignored_and_noted(jpeg):
    image = image_from_bytes(jpeg + jpeg)
    assert (image.pixels == image_from_bytes(jpeg).pixels).all()
    assert image.notes == (f"{len(jpeg):,} bytes after the end of the image ignored",)


def test_a_marker_inside_the_image_data_is_damage(photo, encode):
    data = bytearray(encode(photo, "JPEG", quality=90))
    data[-2000:-1998] = b"\xff\x3a"
    with pytest.raises(UnreadableImageError, match="damaged JPEG: marker 0x3a"):
        image_from_bytes(bytes(data))


def test_bytes_between_segments_are_skipped_as_libjpeg_does(photo, encode):
    data = encode(photo, "JPEG")
    table = data.index(b"\xff\xdb")
    padded = data[:table] + b"\x00\x00\xff\xff" + data[table:]
    assert (image_from_bytes(padded).pixels == image_from_bytes(data).pixels).all()


def test_a_huge_frame_is_refused_before_its_missing_end_is_examined(photo, encode):
    data = bytearray(encode(photo, "JPEG")[:-2])
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(ImageTooLargeError, match="65,535 x 65,535"):
        header_from_jpeg(bytes(data), DecodeLimits())


@pytest.mark.parametrize(("offset", "value"), [(4, 12), (9, 2)])
def test_depth_and_channels_without_a_decoder(photo, encode, offset, value):
    data = bytearray(encode(photo, "JPEG"))
    data[data.index(b"\xff\xc0") + offset] = value
    with pytest.raises(UnsupportedImageError, match="expected 8 bits and 1, 3 or 4 channels"):
        image_from_bytes(bytes(data))


@pytest.mark.parametrize("end", [3, 4, 20, 200])
def test_cut_inside_the_header(photo, encode, end):
    with pytest.raises(UnreadableImageError, match="truncated JPEG"):
        image_from_bytes(encode(photo, "JPEG")[:end])


def test_a_damaged_exif_block_does_not_cost_the_image(photo, encode):
    data = encode(photo, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert image_from_bytes(data).notes == ()


def test_the_first_picture_of_a_multi_picture_file(photo, encode):
    second = Image.fromarray(photo[::-1].copy())
    data = encode(photo, "MPO", save_all=True, append_images=[second])
    image = image_from_bytes(data)
    reference = Image.open(io.BytesIO(data))
    assert (image.pixels == np.asarray(reference)).all()
    assert image.format == "jpeg"
