"""Resyntheses made elsewhere for one query, for candidates that cannot be run here.

A commercial generator is asked for pictures of a query's caption; they are stored under the hash
of the query's file, and join that candidate's resyntheses when the query is attributed.

Layout: `resyntheses/<sha256 of the query>/<candidate>/<sha256 of the image>.<suffix>`, the files
as they came: their compression is part of what is compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from lineup.errors import ImageError
from lineup.files import sha256_from_bytes, write_atomic
from lineup.imaging.decode import bytes_from_path, image_from_bytes
from lineup.paths import home_dir
from lineup.types import RgbImage

FOLDER = "resyntheses"


@dataclass(frozen=True, slots=True)
class ProvidedImage:
    """A resynthesis made elsewhere.

    Attributes:
        sha256: Hex digest of its file.
        pixels: Shape (H, W, 3), uint8 RGB.
    """

    sha256: str
    pixels: RgbImage


NONE_PROVIDED: Mapping[str, Sequence[ProvidedImage]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ProvidedReport:
    """What became of images that were to be stored.

    Attributes:
        added: How many are new.
        present: How many were there already.
        failed: Path and reason of each that is no usable image.
    """

    added: int
    present: int
    failed: tuple[tuple[Path, str], ...]


class ProvidedStore:
    """The folder of resyntheses made elsewhere.

    Args:
        folder: Created by the first image.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, query_sha256: str, candidate: str, paths: Sequence[Path]) -> ProvidedReport:
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
                failed.append((path, error.message))
                continue
            name = f"{sha256_from_bytes(data)}.{suffix}"
            target = self.folder / query_sha256 / candidate / name
            if target.exists():
                present += 1
                continue
            write_atomic(target, data)
            added += 1
        return ProvidedReport(added, present, tuple(failed))

    def candidates(self) -> tuple[str, ...]:
        """Return whoever made resyntheses of any query, by name."""
        return tuple(sorted({path.name for path in self.folder.glob("*/*") if path.is_dir()}))

    def images(self, query_sha256: str) -> dict[str, tuple[ProvidedImage, ...]]:
        """Return the resyntheses of a query per candidate; empty when there are none.

        Raises:
            ImageError: A stored file cannot be decoded any more; names it.
        """
        folder = self.folder / query_sha256
        if not folder.is_dir():
            return {}
        return {
            candidate.name: tuple(_image(path) for path in sorted(candidate.glob("[0-9a-f]*")))
            for candidate in sorted(folder.iterdir())
        }


def open_provided() -> ProvidedStore:
    """Return the store in the home folder."""
    return ProvidedStore(home_dir() / FOLDER)


def _image(path: Path) -> ProvidedImage:
    data = bytes_from_path(path)
    return ProvidedImage(sha256=path.stem, pixels=image_from_bytes(data).pixels)
