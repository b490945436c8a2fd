"""Completeness of JPEG files."""

from __future__ import annotations

import io
import re
import struct

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


def scans_of(data):
    return [found.start() for found in re.finditer(rb"\xff\xda", data)]


def test_a_missing_end_marker_after_all_scans_is_noted(photo, encode):
    data = encode(photo, "JPEG", progressive=True)
    image = image_from_bytes(data[:-2])
    assert (image.pixels == image_from_bytes(data).pixels).all()
    assert image.notes == ("end marker missing, image data complete",)


@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_missing_scans_are_told(photo, encode, end):
    # Every scan that is there is complete, so that no decoder finds anything missing.
    data = encode(photo, "JPEG", progressive=True)
    cut = data[: data.rindex(b"\xff\xc4", 0, scans_of(data)[-1])] + end
    with pytest.raises(UnreadableImageError, match=r"scans are missing: 0 of its 3 .* 67% of the"):
        image_from_bytes(cut)


def test_missing_channels_are_told(photo, encode):
    data = encode(photo, "JPEG", progressive=True)
    without = data.replace(b"\xff\xc2\x00\x11\x08", b"\xff\xc0\x00\x11\x08")
    scan = without.index(b"\xff\xda")
    one = b"\xff\xda\x00\x08\x01" + without[scan + 5 : scan + 7] + b"\x00\x3f\x00"
    with pytest.raises(UnreadableImageError, match="2 of its 3 channels have no image data"):
        image_from_bytes(without[:scan] + one + b"\x12\x34\xff\xd9")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind)))
@pytest.mark.parametrize("damage", ["hole", "closed"])
def test_data_that_are_missing_behind_an_end_marker(photo, encode, kind, damage, capfd):
    data = encode(np.tile(photo, (3, 3, 1)), "JPEG", **kind)
    share = len(data) // 5
    cut = data[: 2 * share] + data[3 * share :] if damage == "hole" else data[: 3 * share]
    with pytest.raises(UnreadableImageError, match=r"(truncated|damaged) JPEG"):
        image_from_bytes(cut if damage == "hole" else cut + b"\xff\xd9")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_the_share_of_the_picture_that_is_there(photo, encode, mode):
    strips = [photo, np.random.default_rng(0).integers(0, 255, photo.shape, np.uint8)]
    first = encode(np.concatenate(strips), "JPEG", mode=mode, quality=95)
    # The upper half is what it shares with a picture of another lower half.
    second = encode(np.concatenate([photo, photo[::-1]]), "JPEG", mode=mode, quality=95)
    same = next(i for i in range(900, len(first)) if first[i] != second[i])
    with pytest.raises(UnreadableImageError, match=r"end after (4[4-9]|5[0-3])\.\d\d% of"):
        image_from_bytes(first[:same] + b"\xff\xd9")


def test_a_last_block_that_is_missing_is_noted(photo, encode):
    data = encode(np.tile(photo, (8, 8, 1)), "JPEG")
    (note,) = image_from_bytes(data[:-6] + b"\xff\xd9").notes
    assert note.startswith("its image data end after 99.9")


def test_surplus_image_data_are_noted(photo, encode):
    data = encode(photo, "JPEG")
    image = image_from_bytes(data[:-2] + bytes(100) + data[-2:])
    assert (image.pixels == image_from_bytes(data).pixels).all()
    assert image.notes == ("93 bytes of image data are left over; it may be damaged",)


def test_a_subsampling_that_is_not_checked_is_noted(photo, encode):
    data = bytearray(encode(photo[..., 0].copy(), "JPEG"))
    rgb = bytearray(encode(photo, "JPEG"))
    frame = rgb.index(b"\xff\xc0")
    rgb[frame + 11] = 0x42
    (note,) = image_from_bytes(bytes(rgb)).notes
    assert note.startswith("not checked for missing image data")
    assert image_from_bytes(bytes(data)).notes == ("grey expanded to RGB",)


def test_odd_versions_of_metadata_are_nothing(photo, encode):
    data = bytearray(encode(photo, "JPEG"))
    data[data.index(b"JFIF") + 5] = 7
    assert image_from_bytes(bytes(data)).notes == ()


def test_many_empty_scans_are_refused_at_once(photo, encode):
    data = encode(photo, "JPEG", progressive=True)
    scan = data[scans_of(data)[-1] : -2]
    with pytest.raises(UnreadableImageError, match="more than 100 scans"):
        image_from_bytes(data[:-2] + scan * 100 + data[-2:])


def test_jpeg_ls_is_not_supported(photo, encode):
    data = encode(photo, "JPEG")
    with pytest.raises(UnsupportedImageError, match="JPEG-LS"):
        image_from_bytes(data.replace(b"\xff\xc0", b"\xff\xf7"))


def test_a_scan_of_a_channel_that_is_not_there(photo, encode):
    data = bytearray(encode(photo, "JPEG"))
    data[data.index(b"\xff\xda") + 5] = 9
    with pytest.raises(UnreadableImageError, match="does not fit the frame"):
        image_from_bytes(bytes(data))


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
    image = image_from_bytes(padded)
    assert (image.pixels == image_from_bytes(data).pixels).all()
    assert image.notes == ("2 stray bytes between its segments skipped",)


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


@pytest.mark.parametrize("kind", [{}, {"progressive": True}], ids=["sequential", "progressive"])
def test_a_small_file_that_states_a_huge_picture_is_refused_at_once(photo, encode, kind):
    # The decoder would fill 144 million pixels, for seconds.
    data = bytearray(encode(photo, "JPEG", **kind))
    frame = data.index(b"\xff\xc2" if kind else b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 12_000, 12_000)
    with pytest.raises(UnreadableImageError, match="bytes for 2,250,000 blocks"):
        header_from_jpeg(bytes(data), DecodeLimits())


def test_a_blank_picture_takes_few_bytes_a_block(encode):
    data = encode(np.full((3000, 4000, 3), 255, np.uint8), "JPEG", optimize=True, progressive=True)
    assert image_from_bytes(data).notes == ()
