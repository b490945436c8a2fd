"""What to ask a generator behind an API for: a file of JSON lines, one line per query.

A line names the pictures that are to come back, so that they find their query again: files of
these names, with the suffix of any image format, below one folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from msgspec import Meta

from lineup.documents import DocumentFormat
from lineup.errors import ResynthesisError, UsageError
from lineup.finding import IMAGE_SUFFIXES, find_images
from lineup.text import shown

KEY_DIGITS = 12

Count = Annotated[int, Meta(ge=1)]
Seed = Annotated[int, Meta(ge=0)]


@dataclass(frozen=True, slots=True)
class CaptionRow:
    """What a candidate is asked for, about one query.

    Attributes:
        sha256: Hash of the query's file.
        caption: What the pictures are to show.
        seeds: One per picture, for generators that take one.
        pictures: What the pictures are called, in the order of the seeds: paths below a folder,
            with `/`, without suffix.
        width_px: Width of the query: a hint for the size to ask for.
        height_px: Height of the query.
        path: The query's file, for people; may be empty.
        captioner: Name and digest of what described it; empty where somebody else did.
    """

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    caption: Annotated[str, Meta(min_length=1)]
    seeds: Annotated[tuple[Seed, ...], Meta(min_length=1)]
    pictures: tuple[str, ...]
    width_px: Count
    height_px: Count
    path: str = ""
    captioner: str = ""

    @property
    def title(self) -> str:
        """What the query is called in messages."""
        return self.path or self.sha256[:KEY_DIGITS]


def _contradictions(row: CaptionRow) -> Iterator[str]:
    if len(row.pictures) != len(row.seeds):
        yield f"pictures: {len(row.pictures)} names for {len(row.seeds)} seeds"
    if len(set(row.pictures)) != len(row.pictures):
        yield "pictures: a name is there twice"
    for index, name in enumerate(row.pictures):
        path = PurePosixPath(name)
        if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name:
            yield f"pictures[{index}]: {name!r} does not lie below a folder"


CAPTION_ROW = DocumentFormat(
    CaptionRow,
    ResynthesisError,
    "`lineup captions` writes files that can be used.",
    contradictions=_contradictions,
)


def rows_from_file(path: Path) -> Iterator[CaptionRow]:
    """Yield the rows of a file; a last line that was cut off is left out.

    Raises:
        ResynthesisError: It cannot be read, a line is no such row, or one names pictures that
            another names; tells the line.
    """
    taken: dict[str, int] = {}
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.endswith(b"\n"):
                    return  # whoever wrote it was killed
                if not line.strip():
                    continue
                row = CAPTION_ROW.from_bytes(line, where=f"{path}, line {number}")
                for name in row.pictures:
                    if taken.setdefault(name, number) != number:
                        raise ResynthesisError(
                            f"{path}, line {number}: pictures: {name!r} is of line {taken[name]}."
                        )
                yield row
    except OSError as error:
        raise ResynthesisError(f"{path}: cannot be read: {error.strerror or error}") from error


class CaptionFile:
    """A file of rows that grows query by query; what it holds already is kept.

    Args:
        path: Created by the first row. A last line that was cut off is removed.

    Attributes:
        rows: Per hash of a query, those there are.

    Raises:
        ResynthesisError: The file holds something else.
        UsageError: It was made by another captioner, or with other seeds.
    """

    def __init__(self, path: Path, captioner: str, seeds: Sequence[int]) -> None:
        self.path = path
        self._captioner, self._seeds = captioner, tuple(seeds)
        self.rows: dict[str, CaptionRow] = {}
        self._taken: set[str] = set()
        if not path.exists():
            return
        for row in rows_from_file(path):
            if (row.captioner, row.seeds) != (captioner, self._seeds):
                raise UsageError(
                    f"{path} holds captions by {row.captioner or 'somebody else'} for the seeds "
                    f"{_listed(row.seeds)}, not by {captioner} for {_listed(self._seeds)}.",
                    hint="Give another file with --output, or ask for the same.",
                )
            self._keep(row)
        with path.open("r+b") as stream:
            stream.truncate(stream.read().rfind(b"\n") + 1)

    def add(
        self, sha256: str, path: Path, caption: str, *, width_px: int, height_px: int
    ) -> CaptionRow:
        """Write a query's row, on disk before the next image begins."""
        row = CaptionRow(
            sha256=sha256,
            caption=caption,
            seeds=self._seeds,
            pictures=self._names(path, sha256),
            width_px=width_px,
            height_px=height_px,
            path=shown(str(path)),
            captioner=self._captioner,
        )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as stream:
            stream.write(CAPTION_ROW.to_bytes(row, indent=None))
        self._keep(row)
        return row

    def _keep(self, row: CaptionRow) -> None:
        self.rows[row.sha256] = row
        self._taken.update(row.pictures)

    def _names(self, path: Path, sha256: str) -> tuple[str, ...]:
        """Return names after the query's file, or after its hash where those are taken or odd."""
        for stem in (path.stem, sha256[:KEY_DIGITS], sha256):
            many = len(self._seeds) > 1
            names = tuple(f"{stem}-{seed}" if many else stem for seed in self._seeds)
            if stem.isprintable() and "\\" not in stem and not self._taken & set(names):
                return names
        raise AssertionError(sha256)


class PictureFolder:
    """The pictures that came back, by the names that a file of captions gave them.

    Args:
        folder: Searched through.

    Raises:
        UsageError: It is no folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder.", hint="Name the folder of the pictures.")
        self.folder = folder
        self._found: dict[str, list[Path]] = {}
        for path in find_images([folder]):
            self._found.setdefault(_name_in(folder, path), []).append(path)

    def take(self, row: CaptionRow) -> tuple[Path, ...]:
        """Return a row's pictures, in the order of its seeds; each can be taken once.

        Raises:
            ResynthesisError: Pictures are missing, or there are two files for one; names them.
        """
        found = {name: self._found.pop(name, []) for name in row.pictures}
        missing = [name for name, paths in found.items() if not paths]
        if missing:
            raise ResynthesisError(
                f"{self.folder}: there is no picture {_listed(missing)} of {row.title}.",
                hint="Expected a file of that name and a suffix such as .png, .jpg, .webp.",
            )
        for name, paths in found.items():
            if len(paths) > 1:
                raise ResynthesisError(
                    f"{self.folder}: {_listed(one.name for one in paths)} are both {name!r} of "
                    f"{row.title}.",
                    hint="Leave one of them.",
                )
        return tuple(paths[0] for paths in found.values())

    @property
    def rest(self) -> tuple[Path, ...]:
        """The images that nobody took."""
        return tuple(path for paths in self._found.values() for path in paths)


def _name_in(folder: Path, path: Path) -> str:
    relative = path.relative_to(folder)
    is_image = relative.suffix.lower() in IMAGE_SUFFIXES
    return (relative.with_suffix("") if is_image else relative).as_posix()


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))
