import os
from pathlib import Path

from lineup.scan.pipeline import Identities, unique_paths

SHA = "ab" * 32


def test_a_path_is_yielded_once_however_it_is_spelled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spellings = ["a/x.png", "a/../a/x.png", tmp_path / "a/x.png", "a/y.png", "./a/x.png"]

    found = list(unique_paths(map(Path, spellings)))

    assert found == [Path("a/x.png"), Path("a/y.png")]


def test_names_that_are_not_utf8_are_told_apart():
    paths = [Path(os.fsdecode(name)) for name in (b"x\xff.png", b"x\xfe.png", b"x\xff.png")]

    assert len(list(unique_paths(paths))) == 2


def test_content_belongs_to_the_identity():
    done = Identities()
    done.add("x.png", SHA)

    assert done.holds("x.png", SHA)
    assert done.holds(str(Path("x.png").absolute()), SHA)
    assert not done.holds("x.png", "cd" * 32)
    assert not done.holds("y.png", SHA)


def test_an_unreadable_file_is_done_until_it_can_be_read():
    done = Identities()
    done.add("x.png", None)

    assert done.holds("x.png", None)
    assert not done.holds("x.png", SHA)


def test_a_file_that_vanished_keeps_the_row_it_has():
    done = Identities()
    done.add("x.png", SHA)

    assert done.holds("x.png", None)


def test_the_escapes_of_a_table_name_the_same_file():
    done = Identities()
    done.add("./x\\udcff.png", SHA)

    assert done.holds(os.fsdecode(b"x\xff.png"), SHA)


def test_the_last_row_of_a_path_counts():
    done = Identities()
    done.add("x.png", SHA)
    done.add("x.png", "cd" * 32)
    assert done.holds("x.png", "cd" * 32)
    assert not done.holds("x.png", SHA)

    done.forget("./x.png")
    assert not done.holds("x.png", None)
