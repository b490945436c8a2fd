"""Resyntheses made elsewhere for one query, for candidates that cannot be run here.

A commercial generator is asked for images of a query's caption; they are stored under the hash
of the query's file, and join that candidate's resyntheses when the query is attributed.

Layout: `resyntheses/<sha256 of the query>/<candidate>/<sha256 of the image>.<suffix>`, the files
as they came: their compression is part of what is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lineup.errors import ImageError
from lineup.files import sha256_from_bytes, write_atomic
from lineup.imaging.decode import bytes_from_path, image_from_bytes
from lineup.paths import home_dir, home_entries
from lineup.results import Resynthesis

FOLDER = "resyntheses"


@dataclass(frozen=True, slots=True)
class StoredReport:
    """What became of images that were to be stored.

    Attributes:
        added: How many are new.
        present: How many were there already.
        failed: Path and reason of each that is no usable image.
    """

    added: int
    present: int
    failed: tuple[tuple[Path, str], ...]


class StoredResyntheses:
    """The folder of resyntheses made elsewhere.

    Args:
        folder: Created by the first image.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, query_sha256: str, candidate: str, paths: Sequence[Path]) -> StoredReport:
        """Store images as a candidate's resyntheses of a query.

        Args:
            query_sha256: Hex digest of the query's file.
            candidate: Name of the generator that made them.
            paths: Image files; one that cannot be decoded is reported, not stored.
        """
        added = present = 0
        failed = []
        for path in paths:
            try:
                data = bytes_from_path(path)
                suffix = image_from_bytes(data).format
            except ImageError as error:
                failed.append((path, error.one_line))
                continue
            name = f"{sha256_from_bytes(data)}.{suffix}"
            target = self.folder / query_sha256 / candidate / name
            if target.exists():
                present += 1
                continue
            write_atomic(target, data)
            added += 1
        return StoredReport(added, present, tuple(failed))

    def candidates(self) -> tuple[str, ...]:
        """Return whoever made resyntheses of any query, by name."""
        queries = (one for one in home_entries(self.folder) if one.is_dir())
        return tuple(sorted({path.name for one in queries for path in home_entries(one)}))

    def of_query(self, query_sha256: str) -> dict[str, tuple[Resynthesis, ...]]:
        """Return the resyntheses of a query per candidate; empty when there are none.

        Raises:
            ImageError: A stored file cannot be decoded any more; names it.
        """
        return {
            candidate.name: tuple(
                Resynthesis(
                    candidate.name,
                    image_from_bytes(bytes_from_path(path)).pixels,
                    parts={"sha256": path.stem},
                )
                for path in sorted(candidate.glob("[0-9a-f]*"))
            )
            for candidate in home_entries(self.folder / query_sha256)
        }


def open_stored() -> StoredResyntheses:
    """Return the store in the home folder."""
    return StoredResyntheses(home_dir() / FOLDER)
