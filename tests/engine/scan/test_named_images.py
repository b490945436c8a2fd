import io
import os
import threading

import pytest

from lineup.errors import UsageError
from lineup.finding import NamedImages


def images(arguments, list_file=None, stdin=b"", output=None):
    inputs = NamedImages(arguments, list_file, io.BytesIO(stdin), output)
    return [str(path) for path in inputs.images()]


def test_arguments_and_standard_input_in_the_order_named():
    assert images(["a.png", "-", "b.png"], stdin=b"x.png\ny.png\n") == [
        "a.png", "x.png", "y.png", "b.png",
    ]  # fmt: skip


def test_a_list_comes_last(tmp_path):
    (tmp_path / "list.txt").write_text("x.png\r\n\n  \ny.png")

    assert images(["a.png"], str(tmp_path / "list.txt")) == ["a.png", "x.png", "y.png"]
    assert images(["a.png"], "-", b"x.png") == ["a.png", "x.png"]


def test_lists_may_be_separated_by_zero_bytes_and_hold_any_name():
    assert images(["-"], stdin=b"a\n.png\0caf\xe9.png\0b\r\0") == [
        "a\n.png",
        os.fsdecode(b"caf\xe9.png"),
        "b\r",
    ]


def test_folders_in_a_list_are_walked(mixed_folder):
    assert len(images(["-"], stdin=os.fsencode(mixed_folder))) == 16


def test_a_pipe_is_read_as_it_fills():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stdin, os.fdopen(writing, "wb", buffering=0) as pipe:
        found = NamedImages(["-"], None, stdin).images()
        pipe.write(b"a.png\nb.")
        assert str(next(found)) == "a.png"
        threading.Timer(0.02, lambda: pipe.write(b"png\n")).start()
        assert str(next(found)) == "b.png"


def test_the_output_is_no_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.jsonl").write_text("")

    assert images(["a.png", "./r.jsonl", "*.jsonl"], output=tmp_path / "r.jsonl") == ["a.png"]


def test_what_cannot_be_scanned_is_refused(tmp_path):
    with pytest.raises(UsageError, match="No images were named"):
        images([])
    with pytest.raises(UsageError, match="does not exist"):
        images([], str(tmp_path / "no.txt"))


def test_pipes_cannot_be_listed_twice(tmp_path):
    def can(arguments, list_file=None):
        return NamedImages(arguments, list_file, io.BytesIO()).can_list_twice

    (tmp_path / "list.txt").write_text("x.png")
    assert can(["a"])
    assert can(["a"], str(tmp_path / "list.txt"))
    assert not can(["a", "-"])
    assert not can(["a"], "-")
