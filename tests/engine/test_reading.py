"""Whatever can be an image is read the same; whatever cannot is refused with the reason."""

import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lineup
from lineup.errors import ImageError, ImageTooLargeError, UnreadableImageError, UsageError
from lineup.imaging.header import DecodeLimits
from lineup.paths import shipped_dir
from lineup.reading import read_image

SAMPLE = shipped_dir() / "samples" / "nearest-0.png"
ORIENTATION_TAG = 0x0112


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def engine():
    with lineup.open(device="cpu") as opened:
        yield opened


def everything_from_sample():
    data = SAMPLE.read_bytes()
    return {
        "Path": SAMPLE,
        "str": str(SAMPLE),
        "bytes": data,
        "bytearray": bytearray(data),
        "memoryview": memoryview(data),
        "file object": io.BytesIO(data),
        "PIL": Image.open(io.BytesIO(data)),
        "array": read_image(SAMPLE).pixels,
    }


def saved(image, path, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize("kind", everything_from_sample())
def test_every_kind_gives_the_same_pixels_and_verdict(engine, kind):
    image = everything_from_sample()[kind]
    expected = engine.attribute(SAMPLE)

    read = read_image(image)
    answer = engine.attribute(read)

    assert np.array_equal(read.pixels, read_image(SAMPLE).pixels)
    assert answer.verdict.label == expected.verdict.label
    assert answer.verdict.posterior == expected.verdict.posterior


def test_the_engine_reads_each_kind_itself(engine):
    expected = engine.attribute(SAMPLE).verdict.posterior

    for image in everything_from_sample().values():
        assert engine.attribute(image).verdict.posterior == expected


def test_a_file_is_known_by_its_bytes_and_its_path():
    data = SAMPLE.read_bytes()
    for image in (SAMPLE, str(SAMPLE), data, io.BytesIO(data)):
        read = read_image(image)
        assert read.sha256 == hashlib.sha256(data).hexdigest()
        assert (read.format, read.size_bytes) == ("png", len(data))
    assert read_image(SAMPLE).path == str(SAMPLE)
    assert read_image(data).path is None
    with SAMPLE.open("rb") as stream:
        assert read_image(stream).path == str(SAMPLE)


def test_pixels_are_known_by_their_values_and_shape(rgb):
    same = read_image(Image.fromarray(rgb))
    read = read_image(rgb)

    assert read.sha256 == same.sha256
    assert read.sha256 != read_image(rgb.reshape(20, 12, 3)).sha256
    assert (read.path, read.size_bytes, read.format) == (None, None, None)
    assert (read.width_px, read.height_px) == (20, 12)


def test_what_was_read_is_returned_as_it_is():
    read = read_image(SAMPLE)

    assert read_image(read) is read


def test_an_array_that_changes_later_changes_nothing(rgb):
    before = rgb.copy()
    read = read_image(rgb)
    rgb[:] = 0

    assert np.array_equal(read.pixels, before)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_floats_are_rounded_to_bytes(rgb, dtype):
    read = read_image((rgb / 255).astype(dtype))

    assert np.array_equal(read.pixels, rgb)
    assert read.notes == ("floats rounded to 8 bits",)


def test_floats_may_leave_their_range_by_rounding():
    read = read_image(np.array([[-1e-7, 1 + 1e-7]]))

    assert read.pixels[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_sixteen_bits_are_divided_by_257(dtype):
    values = np.arange(0, 65536, 97, dtype=np.uint16)
    read = read_image(np.stack([values] * 3, -1)[None].astype(dtype))

    assert np.array_equal(read.pixels[0, :, 0], np.rint(values / 257).astype(np.uint8))
    assert read.notes == ("16-bit reduced to 8",)


@pytest.mark.parametrize("shape", [(12, 20), (12, 20, 1)])
def test_grey_is_expanded(rgb, shape):
    grey = rgb[..., 0].reshape(shape)
    read = read_image(grey)

    assert np.array_equal(read.pixels, np.stack([rgb[..., 0]] * 3, -1))
    assert read.notes == ("grey expanded to RGB",)


def test_alpha_is_composited_over_white_as_of_a_file(rgb, tmp_path):
    rgba = np.dstack([rgb, rgb[..., 0]])
    file = read_image(saved(Image.fromarray(rgba), tmp_path / "a.png"))

    for image in (rgba, Image.fromarray(rgba)):
        read = read_image(image)
        assert np.array_equal(read.pixels, file.pixels)
        assert read.notes == file.notes == ("alpha composited over white",)


@pytest.mark.parametrize(
    "view",
    [
        lambda pixels: pixels[::-1],
        lambda pixels: pixels[:, ::2],
        lambda pixels: pixels[..., ::-1],
        lambda pixels: pixels.transpose(1, 0, 2),
        np.asfortranarray,
    ],
)
def test_strides_do_not_matter(rgb, view):
    read = read_image(view(rgb))

    assert np.array_equal(read.pixels, view(rgb))
    assert read.pixels.flags.c_contiguous


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("1", "png"),
        ("L", "png"),
        ("P", "png"),
        ("LA", "png"),
        ("RGB", "png"),
        ("RGBA", "png"),
        ("CMYK", "jpg"),
        ("L", "jpg"),
    ],
)
def test_a_pil_image_is_read_as_its_file(rgb, mode, suffix, tmp_path):
    image = Image.fromarray(np.dstack([rgb, rgb[..., 0]]), "RGBA")
    image = image.convert("RGB").convert(mode) if mode in "PCMYK" else image.convert(mode)
    path = saved(image, tmp_path / f"a.{suffix}")
    with Image.open(path) as opened:
        assert opened.mode == mode
        read = read_image(opened)

    file = read_image(path)
    assert np.array_equal(read.pixels, file.pixels)
    assert read.notes == file.notes


def test_a_pil_image_of_sixteen_bits_is_read_as_its_file(tmp_path):
    values = np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16)
    path = saved(Image.fromarray(values), tmp_path / "a.png")
    with Image.open(path) as opened:
        assert opened.mode == "I;16"
        read = read_image(opened)

    file = read_image(path)
    assert np.array_equal(read.pixels, file.pixels)
    assert read.notes == file.notes == ("16-bit reduced to 8", "grey expanded to RGB")


@pytest.mark.parametrize("mode", ["L", "P"])
def test_a_transparent_colour_becomes_white(mode):
    image = Image.new(mode, (4, 4), 0)
    image.info["transparency"] = 0

    assert (read_image(image).pixels == 255).all()


def test_ycbcr_is_converted_by_pillow(rgb):
    image = Image.fromarray(rgb).convert("YCbCr")

    assert np.array_equal(read_image(image).pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_pil_image_is_applied(rgb, orientation, tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    path = saved(Image.fromarray(rgb), tmp_path / "a.png", exif=exif)
    with Image.open(path) as image:
        read = read_image(image)

    file = read_image(path)
    assert np.array_equal(read.pixels, file.pixels)
    assert read.notes == file.notes


def test_an_orientation_that_is_none_is_ignored(rgb):
    image = Image.fromarray(rgb)
    image.getexif()[ORIENTATION_TAG] = 9

    assert np.array_equal(read_image(image).pixels, rgb)


@pytest.mark.parametrize(
    ("dtype", "hint"),
    [
        (bool, "astype('uint8') * 255"),
        (np.int64, "astype('uint8')"),
        (np.uint32, "astype('uint8')"),
        (np.complex64, None),
        (object, None),
    ],
)
def test_other_types_of_array_are_refused(dtype, hint):
    array = np.ones((4, 4, 3), dtype)
    expected = rf"shape \(4, 4, 3\) and type {array.dtype} is no image.*Expected a path"
    with pytest.raises(UsageError, match=expected) as caught:
        read_image(array)
    assert caught.value.hint is None if hint is None else hint in caught.value.hint


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((), None),
        ((5,), None),
        ((5, 6, 2), None),
        ((2, 6, 5), None),
        ((1, 4, 6, 3), None),
        ((3, 4, 6), "numpy.moveaxis(array, 0, -1)"),
        ((1, 4, 6), "numpy.moveaxis(array, 0, -1)"),
    ],
)
def test_other_shapes_of_array_are_refused(shape, hint):
    with pytest.raises(UsageError, match=r"is no image.*\(height, width, 3\) RGB") as caught:
        read_image(np.zeros(shape, np.uint8))
    assert caught.value.hint is None if hint is None else hint in caught.value.hint


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 4, 3), (4, 0, 1)])
def test_an_array_without_pixels_is_refused(shape):
    with pytest.raises(ImageError, match="has no pixels; expected at least 1 x 1"):
        read_image(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    ("values", "found", "hint"),
    [
        ([0.0, float("nan")], "from nan to nan", None),
        ([0.0, float("inf")], "from 0 to inf", None),
        ([0.0, 255.0], "from 0 to 255", "Divide by 255."),
        ([-1.0, 1.0], "from -1 to 1", None),
    ],
)
def test_floats_out_of_range_are_refused(values, found, hint):
    with pytest.raises(ImageError, match=f"lie in 0..1; these go {found}") as caught:
        read_image(np.array([values]))
    assert caught.value.hint == hint


@pytest.mark.parametrize("image", [None, 3, 1.5, ["a.png"], object()])
def test_other_objects_are_refused(image):
    with pytest.raises(UsageError, match=f"of type {type(image).__name__} is no image") as caught:
        read_image(image)
    assert "Expected a path" in caught.value.hint


class Drips(io.RawIOBase):
    """Gives few bytes at a time, as a pipe does."""

    def __init__(self, data):
        self._rest = data

    def read(self, size=-1):
        part, self._rest = self._rest[:1000], self._rest[1000:]
        return part


def test_a_stream_that_gives_little_at_a_time_is_read_to_its_end():
    data = SAMPLE.read_bytes()

    assert read_image(Drips(data)).sha256 == read_image(data).sha256


class BytesPath:
    def __fspath__(self):
        return os.fsencode(SAMPLE)


def test_a_path_may_be_bytes_inside():
    assert read_image(BytesPath()).path == str(SAMPLE)


class Failing:
    def read(self, size):
        raise OSError(5, "Input/output error")


class Stubborn:
    def read(self):
        return b""


def closed_file():
    stream = io.BytesIO(b"x")
    stream.close()
    return stream


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (closed_file, UnreadableImageError),
        (Failing, UnreadableImageError),
        (Stubborn, UsageError),
        (lambda: io.BytesIO, UsageError),
        (lambda: memoryview(np.zeros((4, 4, 3), np.uint8)), UsageError),
        (lambda: np.ma.masked_array(np.zeros((4, 4), np.uint8)), UsageError),
    ],
)
def test_what_cannot_be_read_is_an_error_of_ours(make, error):
    with pytest.raises(error):
        read_image(make())


def test_a_text_file_object_is_refused():
    with pytest.raises(UsageError, match="gave str, not bytes") as caught:
        read_image(io.StringIO("text"))
    assert caught.value.hint == "Open it in mode 'rb'."


@pytest.mark.parametrize("mode", ["I", "F", "HSV", "LAB"])
def test_other_modes_of_pil_images_are_refused(mode):
    with pytest.raises(UsageError, match=f"PIL image of mode {mode} is no image") as caught:
        read_image(Image.new(mode, (4, 4)))
    assert "image.convert('RGB')" in caught.value.hint


def test_a_damaged_pil_image_is_refused():
    data = SAMPLE.read_bytes()
    image = Image.open(io.BytesIO(data[: len(data) // 2]))

    with pytest.raises(ImageError, match=r"The PIL image cannot be read: .*truncated"):
        read_image(image)


def test_a_closed_pil_image_is_refused():
    image = Image.open(SAMPLE)
    image.close()

    with pytest.raises(ImageError, match="The PIL image cannot be read: "):
        read_image(image)


def test_too_many_pixels_are_refused(rgb):
    limits = DecodeLimits(max_pixels=239)
    for image in (rgb, rgb[..., 0], Image.fromarray(rgb)):
        with pytest.raises(ImageTooLargeError, match="20 x 12 pixels; the limit is 239 pixels"):
            read_image(image, limits=limits)
    assert read_image(rgb, limits=DecodeLimits(max_pixels=240)).width_px == 20


def test_too_many_bytes_are_refused():
    size = SAMPLE.stat().st_size
    for image in (SAMPLE, SAMPLE.read_bytes(), io.BytesIO(SAMPLE.read_bytes())):
        with pytest.raises(ImageTooLargeError, match=f"the limit is {size - 1:,}"):
            read_image(image, limits=DecodeLimits(max_bytes=size - 1))
        if isinstance(image, io.BytesIO):
            image.seek(0)
        assert read_image(image, limits=DecodeLimits(max_bytes=size)).format == "png"


@pytest.mark.parametrize("image", [b"", bytearray(), io.BytesIO()])
def test_empty_files_are_refused(image):
    with pytest.raises(UnreadableImageError, match="is empty"):
        read_image(image)


def test_an_error_of_a_file_names_it(tmp_path):
    path = tmp_path / "notes.png"
    path.write_text("no image")

    with path.open("rb") as stream:
        for image in (path, str(path), stream):
            with pytest.raises(ImageError, match=r"notes\.png: the file holds text"):
                read_image(image)
    with pytest.raises(UnreadableImageError, match=r"missing\.png does not exist"):
        read_image(Path("missing.png"))
