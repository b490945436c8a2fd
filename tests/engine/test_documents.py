from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import pytest
from msgspec import Meta

from lineup.documents import MAX_BYTES, DocumentFormat
from lineup.errors import BundleVersionError, GalleryError


class Colour(str, Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Page:
    number: Annotated[int, Meta(ge=1)]
    colour: Colour = Colour.RED
    title: str | None = None
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Book:
    chapters: Annotated[Mapping[Annotated[str, Meta(pattern="^[a-z]+$")], tuple[Page, ...]], Meta()]
    notes: Mapping[str, Any] = field(default_factory=dict)
    limit: float | None = None

    def __post_init__(self) -> None:
        if self.limit == 13:
            raise ValueError("limit: 13 is unlucky")


def contradictions(book: Book) -> list[str]:
    return [f"chapters.{name}: no pages" for name, pages in book.chapters.items() if not pages]


BOOKS = DocumentFormat(
    Book,
    GalleryError,
    "Write it again.",
    newer_error=BundleVersionError,
    contradictions=contradictions,
)
TOML_BOOKS = DocumentFormat(Book, GalleryError, "Write it again.", syntax="toml")


def raw(**changed: Any) -> dict[str, Any]:
    chapters = {"first": [{"number": 1}], "second": [{"number": 2}, {"number": 3}]}
    return {"schema_version": 1, "chapters": chapters, **changed}


def chapters(**page: Any) -> dict[str, Any]:
    return raw(chapters={"first": [{"number": 1}], "second": [{"number": 2}, page]})


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([], "expected an object, got an array"),
        ({"chapters": {}}, "schema_version: missing, but required"),
        (raw(schema_version="1"), "schema_version: expected 1, got '1'"),
        (raw(schema_version=0), "schema_version: expected 1, got 0"),
        ({"schema_version": 1}, "chapters: missing, but required"),
        (chapters(), "chapters.second[1].number: missing, but required"),
        (
            chapters(nummer=1),
            "chapters.second[1].number: missing, but required; unknown field nummer",
        ),
        (chapters(number=0), "chapters.second[1].number: expected int >= 1, got 0"),
        (chapters(number=True), "chapters.second[1].number: expected int, got True"),
        (
            chapters(number=1, colour="green"),
            "chapters.second[1].colour: expected one of red, blue, got 'green'",
        ),
        (
            chapters(number=1, colur="red"),
            "chapters.second[1].colur: unknown field; known are colour, number, scale, title",
        ),
        (
            chapters(number=1, scale=float("inf")),
            "chapters.second[1].scale: expected a finite number, got inf",
        ),
        (chapters(number=1, title=[]), "chapters.second[1].title: expected str | null"),
        (raw(chapters={"a": [], "B": []}), "chapters.B: expected str matching regex '^[a-z]+$'"),
        (raw(notes={"deep": [{"x": float("nan")}]}), "notes.deep[0].x: expected a finite number"),
        (raw(limit=13), "limit: 13 is unlucky"),
        (raw(chapters={"first": []}), "chapters.first: no pages"),
        (raw(**{"a\x1b[31m" + "b" * 100: 1}), "a\\x1b[31m" + "b" * 74 + "...: unknown field"),
    ],
)
def test_a_broken_rule_is_an_error_that_names_file_and_field(given: object, problem: str) -> None:
    with pytest.raises(GalleryError) as caught:
        BOOKS.from_raw(given, where="book.json")

    assert caught.value.message.startswith(f"book.json: {problem}")
    assert caught.value.hint == "Write it again."


def test_a_newer_file_is_refused_before_its_fields_are_looked_at() -> None:
    with pytest.raises(BundleVersionError, match="schema_version is 2, but this lineup reads up"):
        BOOKS.from_raw({"schema_version": 2, "pages": []}, where="book.json")


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b'{"a": NaN}', b"\xff", b"[1e999]"])
def test_what_is_not_json_is_refused(data: bytes) -> None:
    with pytest.raises(GalleryError, match=r"book\.json: not JSON"):
        BOOKS.from_bytes(data, where="book.json")


def test_toml_is_read_by_the_same_rules() -> None:
    text = "schema_version = 1\n[[chapters.first]]\nnumber = 3\ncolour = 'blue'\n"
    book = TOML_BOOKS.from_bytes(text, where="book.toml")
    assert book == Book({"first": (Page(3, Colour.BLUE),)})
    with pytest.raises(GalleryError, match=r"book\.toml: chapters\.first\[0\]\.scale: .*finite"):
        TOML_BOOKS.from_bytes(text + "scale = nan\n", where="book.toml")
    with pytest.raises(GalleryError, match=r"book\.toml: not TOML"):
        TOML_BOOKS.from_bytes("schema_version = ", where="book.toml")


def test_a_document_survives_writing_and_reading(tmp_path: Path) -> None:
    book = Book({"first": (Page(1, Colour.BLUE, "ü"), Page(2))}, notes={"by": ["me", None, 0.1]})
    path = tmp_path / "new" / "book.json"

    BOOKS.write(path, book)

    assert BOOKS.read(path) == book
    assert BOOKS.to_bytes(BOOKS.read(path)) == path.read_bytes()
    assert [entry.name for entry in path.parent.iterdir()] == ["book.json"]
    assert '"title"' in path.read_text()
    assert '"limit"' not in path.read_text(), "None by default is left out"


@pytest.mark.parametrize(
    ("book", "problem"),
    [
        (Book({}, notes={"x": float("nan")}), "holds a value that JSON cannot"),
        (Book({}, notes={"x": object()}), "holds a value that JSON cannot"),
        (Book({"first": (Page(0),)}), r"chapters\.first\[0\]\.number: expected int >= 1, got 0"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(
    book: Book, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(GalleryError, match=problem):
        BOOKS.write(tmp_path / "book.json", book)
    assert list(tmp_path.iterdir()) == []


def test_files_that_cannot_be_read_or_written_are_errors(tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match="cannot be read: No such file"):
        BOOKS.read(tmp_path / "none.json")
    with pytest.raises(GalleryError, match="cannot be read: Is a directory"):
        BOOKS.read(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(GalleryError, match="cannot be written"):
        BOOKS.write(tmp_path / "file" / "book.json", Book({}))
    large = tmp_path / "large.json"
    with large.open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(GalleryError, match=f"{MAX_BYTES + 1} bytes, expected at most"):
        BOOKS.read(large)


SEALED = DocumentFormat(Book, GalleryError, "Look.", altered_error=BundleVersionError)


def test_no_flipped_bit_of_a_sealed_file_is_accepted(tmp_path):
    path, book = tmp_path / "book.json", Book({"a": (Page(1, title="0" * 64),)}, limit=2.5)
    SEALED.write(path, book)
    data = path.read_bytes()

    assert SEALED.read(path) == book
    for at in range(len(data)):
        for bit in range(8):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
            with pytest.raises((GalleryError, BundleVersionError), match=r"book\.json: "):
                SEALED.read(path)


@pytest.mark.parametrize("stated", ['""', "7", "null", '"' + "0" * 64 + '"'])
def test_a_seal_that_is_no_hash_of_the_file_is_told(stated):
    data = f'{{"schema_version": 1, "chapters": {{}}, "sha256": {stated}}}'

    with pytest.raises(BundleVersionError, match="x: altered: expected sha256"):
        SEALED.from_bytes(data, where="x")


def test_a_file_without_a_seal_is_read():
    assert SEALED.from_bytes(SEALED.to_bytes(Book({})), where="x") == Book({})


FIRST_READ_BY_THREADS = """
import dataclasses, enum, sys, threading
from lineup.documents import DocumentFormat
from lineup.errors import LineupError

sys.setswitchinterval(1e-6)
for _ in range(250):
    colour = enum.Enum("Colour", {f"c{at}": str(at) for at in range(50)}, type=str)
    page = dataclasses.make_dataclass("Page", [("colour", colour), ("title", str)])
    book = dataclasses.make_dataclass("Book", [("pages", tuple[page, ...])])
    document = DocumentFormat(book, LineupError, "")
    start = threading.Barrier(4)

    def read():
        start.wait()
        raw = {"schema_version": 1, "pages": [{"colour": "1", "title": "x"}]}
        read_pages.append(document.from_raw(raw, where="x").pages[0])

    read_pages = []
    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.title for one in read_pages] == ["x"] * 4
"""


def test_threads_may_be_the_first_to_read_a_kind_of_document():
    done = subprocess.run([sys.executable, "-c", FIRST_READ_BY_THREADS], check=False)

    assert done.returncode == 0
