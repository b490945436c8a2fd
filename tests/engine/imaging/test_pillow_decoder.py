from __future__ import annotations

import io
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from lineup.errors import ImageTooLargeError, UnsupportedImageError
from lineup.imaging import decoders
from lineup.imaging.decode import image_from_bytes


def test_a_gif_frame_larger_than_its_screen_is_refused(photo, encode):
    data = bytearray(encode(photo[..., 0].copy(), "GIF"))
    frame = data.index(b"\x2c\0\0\0\0" + struct.pack("<HH", 120, 90))
    data[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(ImageTooLargeError, match="bomb"):
        image_from_bytes(bytes(data))


def test_avif_without_a_decoder_is_explained(photo, encode, monkeypatch):
    data = encode(photo, "AVIF")
    monkeypatch.setattr(decoders.features, "check", lambda _name: False)
    with pytest.raises(UnsupportedImageError, match="libavif"):
        image_from_bytes(data)


@pytest.mark.parametrize(("flags", "depth"), [(0x00, 8), (0x40, 10), (0x60, 12)])
def test_avif_bit_depth_is_that_of_the_file(flags, depth):
    box = b"\0\0\0\x0cav1C\x81\x20" + bytes([flags, 0])
    assert decoders._avif_bit_depth(b"head" + box) == depth


def test_warning_filters_survive_many_threads(photo, encode):
    frames = [Image.fromarray(photo[::-1].copy())]
    data = encode(photo, "GIF", save_all=True, append_images=frames)
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(image_from_bytes, [data] * 64))
    assert warnings.filters == before
    reference = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert all((image.pixels == reference).all() for image in images)
