import codecs
import io
import os
import subprocess

import pytest

from lineup.errors import UsageError
from lineup.finding import NamedImages
from lineup.path_list import paths_from_list


def paths(data):
    return [str(path) for path in paths_from_list(io.BytesIO(data), "L")]


class Drip(io.BytesIO):
    """A pipe that gives one byte at a time."""

    def read(self, size=-1):
        return super().read(min(size, 1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.png\nb c.png\n", ["a.png", "b c.png"]),
        ("\n\na.png\r\n  \nb.png", ["a.png", "b.png"]),
        ("/tmp/図/é.png\r\na[2].png\r\n", ["/tmp/図/é.png", "a[2].png"]),
        ("a.png\0new\nline.png\0", ["a.png", "new\nline.png"]),
        ("x", ["x"]),
        ("", []),
    ],
)
def test_lists(text, expected):
    assert paths(text.encode()) == expected
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        assert paths(text.encode(encoding)) == expected
        assert [str(one) for one in paths_from_list(Drip(text.encode(encoding)), "L")] == expected
    big_endian = codecs.BOM_UTF16_BE + text.encode("utf-16-be")
    assert paths(big_endian) == expected


def test_a_list_with_zero_bytes_is_divided_by_them_alone():
    assert paths(b"first.png\nb\0c.png\n") == ["first.png\nb", "c.png\n"]
    assert paths(b"\0\0") == []


def test_a_zero_byte_late_in_a_list_of_lines_divides_no_name():
    data = b"a.png\n" * 20_000 + b"b\0/\0c\n"

    assert paths(data)[-1] == "b\0/\0c"


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
@pytest.mark.parametrize("name", [b"\xff\xfe.png", b"caf\xe9.png", b"\xef\xbb.png", b"\xf0\x9f"])
def test_names_that_are_not_text(name):
    assert [os.fsencode(one) for one in paths_from_list(io.BytesIO(name + b"\n"), "L")] == [name]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("/x/a.png\r\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        ("/x/a.png\r\n".encode("utf-16-be"), "UTF-16 without a byte order mark"),
        ("図.png\n/\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0/\0", "an image or an archive"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "an image or an archive"),
        (b"PK\x03\x04\0/\0", "an image or an archive"),
    ],
)
def test_what_is_no_list_is_refused(data, problem):
    with pytest.raises(UsageError, match=f"The list L .*{problem}"):
        paths(data)


def test_a_list_that_cannot_be_read_is_told(tmp_path):
    class Closed:
        def read(self, size):
            raise OSError(9, "Bad file descriptor")

    with pytest.raises(UsageError, match="The list L cannot be read: Bad file descriptor"):
        list(paths_from_list(Closed(), "L"))
    with pytest.raises(UsageError, match="is a folder"):
        NamedImages([], str(tmp_path), io.BytesIO())


def test_an_entry_is_never_a_pattern(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a2.png").touch()
    listed = NamedImages(["-"], None, io.BytesIO(b"a[2].png\n*.png\na2.png\n"))

    assert [str(path) for path in listed.images()] == ["a[2].png", "*.png", "a2.png"]


@pytest.mark.skipif(os.name != "posix", reason="needs find")
def test_what_find_prints(tmp_path):
    for name in ("a b.png", "new\nline.png", os.fsdecode(b"caf\xe9.png")):
        (tmp_path / name).touch()
    done = subprocess.run(
        ["find", ".", "-name", "*.png", "-print0"], cwd=tmp_path, capture_output=True, check=True
    )

    assert sorted(paths(done.stdout)) == sorted(path.name for path in tmp_path.iterdir())
