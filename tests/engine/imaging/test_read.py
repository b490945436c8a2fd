from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from lineup.errors import ImageTooLargeError, UnreadableImageError
from lineup.imaging import decode
from lineup.imaging.decode import bytes_from_path
from lineup.imaging.header import DecodeLimits

needs_posix = pytest.mark.skipif(os.name != "posix", reason="no FIFOs, sockets or devices")


def refusal(path):
    with pytest.raises(UnreadableImageError) as caught:
        bytes_from_path(path)
    assert str(path) in caught.value.message
    return caught.value.message


def test_content(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"content")
    assert bytes_from_path(path) == b"content"


def test_zero_bytes(tmp_path):
    path = tmp_path / "a.png"
    path.touch()
    assert "is empty (0 bytes)" in refusal(path)


def test_missing_file(tmp_path):
    assert "does not exist" in refusal(tmp_path / "gone.png")


def test_broken_link(tmp_path):
    link = tmp_path / "link.png"
    link.symlink_to(tmp_path / "gone.png")
    assert "does not exist" in refusal(link)


def test_folder(tmp_path):
    folder = tmp_path / "x.png"
    folder.mkdir()
    assert refusal(folder).endswith("is a folder; expected an image file")


def test_folder_without_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(decode.os, "access", lambda *_: False)
    assert "is a folder without read permission" in refusal(tmp_path)


def test_no_permission(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"content")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(decode.os, "open", refuse)
    assert "permission denied" in refusal(path)


def test_io_error(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"content")

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(decode.os, "open", fail)
    assert "cannot be read: Input/output error" in refusal(path)


def test_a_file_that_vanishes_between_the_look_and_the_read(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"content")
    check = decode._check_regular

    def vanish(seen, status):
        check(seen, status)
        path.unlink(missing_ok=True)

    monkeypatch.setattr(decode, "_check_regular", vanish)
    assert "does not exist" in refusal(path)


def test_zero_byte_in_the_path():
    assert "cannot be read" in refusal(Path("a\0b.png"))


def test_name_too_long():
    assert "cannot be read" in refusal(Path("x" * 5000))


@needs_posix
def test_named_pipe_does_not_hang(tmp_path):
    path = tmp_path / "pipe.jpg"
    os.mkfifo(path)
    assert "is a named pipe" in refusal(path)


@needs_posix
def test_a_file_that_turns_into_a_pipe_does_not_hang(tmp_path, monkeypatch):
    path = tmp_path / "pipe.jpg"
    os.mkfifo(path)
    regular = tmp_path / "regular"
    regular.touch()
    status = regular.stat()
    monkeypatch.setattr(Path, "stat", lambda *_, **__: status)
    assert "is a named pipe" in refusal(path)


@needs_posix
def test_socket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket is at most 107 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        assert "is a socket" in refusal(Path("socket.jpg"))


@needs_posix
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/tty"])
def test_device(device):
    if not Path(device).exists() or not stat.S_ISCHR(Path(device).stat().st_mode):
        pytest.skip(f"no {device}")
    assert "is a character device" in refusal(Path(device))


def test_byte_limit(tmp_path):
    path = tmp_path / "large.png"
    with path.open("wb") as stream:
        stream.truncate(2**40)  # sparse
    with pytest.raises(ImageTooLargeError, match="1,099,511,627,776 bytes; the limit is"):
        bytes_from_path(path)


def test_byte_limit_is_inclusive(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"12345")
    assert bytes_from_path(path, limits=DecodeLimits(max_bytes=5)) == b"12345"
    with pytest.raises(ImageTooLargeError):
        bytes_from_path(path, limits=DecodeLimits(max_bytes=4))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_file_that_states_no_size_is_still_limited():
    with pytest.raises(ImageTooLargeError):
        bytes_from_path(Path("/proc/self/status"), limits=DecodeLimits(max_bytes=10))
