"""Resyntheses made elsewhere, for candidates that cannot be run here.

A generator behind an API is asked for pictures of a query's caption (`lineup.stored.captions`).
They are kept under the hash of the query's file and the caption, and are that candidate's
resyntheses whenever the query is attributed. Their features are cached as those of resyntheses
that are made here.

Layout: `resyntheses/<sha256 of the query>/<candidate>/<hash of the caption>/`, in it the files as
they came, under their own SHA-256 (their compression is part of what is compared), and `set.json`,
which is written last: a folder without it holds nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from lineup.documents import DocumentFormat
from lineup.errors import ImageError, ResynthesisError
from lineup.files import sha256_from_bytes, write_atomic
from lineup.imaging.decode import bytes_from_path, image_from_bytes
from lineup.paths import home_dir, home_entries
from lineup.results import Resynthesis
from lineup.stored.captions import KEY_DIGITS, CaptionRow

FOLDER = "resyntheses"
SET_FILE = "set.json"
REVISION_FILE = "revision"

FileName = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\.[a-z0-9]+$")]


@dataclass(frozen=True, slots=True)
class SetRecord:
    """What `set.json` says.

    Attributes:
        row: What was asked for.
        files: The pictures beside it, in the order of the seeds.
        added: When, ISO 8601, UTC.
    """

    row: CaptionRow
    files: tuple[FileName, ...]
    added: str


SET = DocumentFormat(SetRecord, ResynthesisError, "Remove that folder, and add the pictures again.")


@dataclass(frozen=True, slots=True)
class StoredSet:
    """A candidate's pictures of one caption of one query.

    Attributes:
        candidate: Who made them.
        caption: What they show; empty where nobody knows.
        paths: The files, in the order of the seeds.
        record: What else is known; None of files that lie outside of the store.
    """

    candidate: str
    caption: str
    paths: tuple[Path, ...]
    record: SetRecord | None = None

    def resyntheses(self, most: int) -> list[Resynthesis]:
        """Decode the first pictures, `most` of them.

        Raises:
            ResynthesisError: A file cannot be read, or is no longer what it was; names it.
        """
        return [self._resynthesis(path) for path in self.paths[:most]]

    def _resynthesis(self, path: Path) -> Resynthesis:
        try:
            data = bytes_from_path(path)
            pixels = image_from_bytes(data).pixels
        except ImageError as error:
            raise _unusable(path, error) from error
        sha256 = sha256_from_bytes(data)
        if self.record is not None and path.stem != sha256:
            raise ResynthesisError(
                f"{path}: altered: found sha256 {sha256}",
                hint="Add this candidate's pictures again: lineup resyntheses add.",
            )
        return Resynthesis(self.candidate, pixels, parts={"sha256": sha256})


class StoredResyntheses:
    """A folder of resyntheses made elsewhere.

    Args:
        folder: Created by the first picture.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, candidate: str, row: CaptionRow, paths: Sequence[Path]) -> bool:
        """Keep a candidate's pictures of a query's caption, all or none.

        They replace what there is of the same caption.

        Args:
            candidate: Who made them.
            row: What was asked for.
            paths: One image file per seed.

        Returns:
            Whether anything changed.

        Raises:
            ResynthesisError: A file is no image, is the query, or is there twice; names it.
        """
        images: dict[str, bytes] = {}
        for path in paths:
            data, name = _image(path)
            if name.startswith(row.sha256):
                raise ResynthesisError(f"{path}: is the query {row.title} itself.")
            if name in images:
                raise ResynthesisError(f"{path}: another picture of {row.title} is the same file.")
            images[name] = data
        folder = self._folder(candidate, row)
        with suppress(ResynthesisError):
            if (folder / SET_FILE).exists() and SET.read(folder / SET_FILE).files == tuple(images):
                return False
        for name, data in images.items():
            write_atomic(folder / name, data)
        SET.write(folder / SET_FILE, SetRecord(row, tuple(images), _now()))
        for path in home_entries(folder):
            if path.name not in (*images, SET_FILE):
                path.unlink(missing_ok=True)
        return True

    def sets(self, candidate: str | None = None) -> Iterator[StoredSet]:
        """Yield every set, or those of one candidate, by the hash of the query.

        Raises:
            ResynthesisError: A record cannot be read.
        """
        for query in home_entries(self.folder):
            if query.is_dir():
                for name, found in self.of_query(query.name).items():
                    yield from found if candidate in (None, name) else ()

    def of_query(
        self, sha256: str, names: Sequence[str] | None = None
    ) -> dict[str, tuple[StoredSet, ...]]:
        """Return the sets of a query, the last added first, per candidate that has any, in order.

        Args:
            sha256: Hash of the query's file.
            names: Of whom; None is everybody.

        Raises:
            ResynthesisError: A record cannot be read.
        """
        folder = self.folder / sha256
        if names is None:
            names = [one.name for one in home_entries(folder)]
        found = {name: _sets(folder / name) for name in names}
        return {name: sets for name, sets in found.items() if sets}

    def remove(self, candidate: str, sha256: str | None = None) -> int:
        """Remove a candidate's sets, of one query or of all; return how many there were."""
        sets = [
            one
            for one in self.sets(candidate)
            if one.record is not None and sha256 in (None, one.record.row.sha256)
        ]
        for one in sets:
            assert one.record is not None
            folder = self._folder(candidate, one.record.row)
            (folder / SET_FILE).unlink(missing_ok=True)
            shutil.rmtree(folder)
            for parent in folder.parents[:2]:
                with suppress(OSError):  # somebody else's sets are in it
                    parent.rmdir()
        return len(sets)

    @property
    def revision(self) -> str:
        """Text that a user's change changes; empty before the first."""
        with suppress(OSError):
            return (self.folder / REVISION_FILE).read_text("utf-8")
        return ""

    def changed(self) -> None:
        """Let scans know that rows from before are of another question."""
        write_atomic(self.folder / REVISION_FILE, _now().encode())

    def _folder(self, candidate: str, row: CaptionRow) -> Path:
        key = sha256_from_bytes(row.caption.encode())[:KEY_DIGITS]
        return self.folder / row.sha256 / candidate / key


def chosen_set(sets: Sequence[StoredSet], caption: str | None) -> StoredSet:
    """Return the set of a caption or, where there is none of it, the first."""
    return next((one for one in sets if one.caption == caption), sets[0])


def open_stored() -> StoredResyntheses:
    """Return the store in the home folder."""
    return StoredResyntheses(home_dir() / FOLDER)


def _sets(folder: Path) -> tuple[StoredSet, ...]:
    """Return what a candidate has of a query, the last added first."""
    found = []
    for path in home_entries(folder):
        if (path / SET_FILE).exists():
            record = SET.read(path / SET_FILE)
            files = tuple(path / name for name in record.files)
            found.append((record.added, StoredSet(folder.name, record.row.caption, files, record)))
    return tuple(one for _, one in sorted(found, key=lambda item: item[0], reverse=True))


def _image(path: Path) -> tuple[bytes, str]:
    """Return the bytes of an image file, and what it is called in the store."""
    try:
        data = bytes_from_path(path)
        return data, f"{sha256_from_bytes(data)}.{image_from_bytes(data).format}"
    except ImageError as error:
        raise _unusable(path, error) from error


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")


def _unusable(path: Path, error: ImageError) -> ResynthesisError:
    text = error.message if str(path) in error.message else f"{path}: {error.message}"
    return ResynthesisError(text, hint=error.hint)
