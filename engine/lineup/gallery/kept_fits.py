"""What fitting galleries found, kept under the home folder: the next process need not fit again.

A fit takes longer than judging an image. It is kept by what it depends on, so that it is never used
for another gallery; what was not used for longest goes. Nothing but time is lost with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lineup._version import __version__
from lineup.documents import DocumentFormat
from lineup.errors import GalleryError
from lineup.files import sha256_from_bytes
from lineup.paths import home_dir, home_entries
from lineup.tensor_files import TensorFileFormat
from lineup.types import AnyArray

logger = logging.getLogger(__name__)

VERSION = 1
"""Of what is fitted: raised whenever the same gallery would be fitted otherwise."""

MOST_KEPT = 8
"""Of 3 to 4 MB each: a fit by fingerprint and one by CLIP, of the galleries that were used last."""

KEY_DIGITS = 20


@dataclass(frozen=True, slots=True)
class FitRecord:
    """What a fit was made of.

    Attributes:
        asked: The gallery's digest, and how it was fitted.
        release: Of lineup.
        version: `VERSION`.
    """

    asked: str
    release: str
    version: int


FIT_FILE = TensorFileFormat(
    "a fit of a gallery",
    DocumentFormat(FitRecord, GalleryError, "lineup cache clear fits"),
    "lineup_fit",
)


class KeptFits:
    """A folder of fits; where it cannot be used, galleries are fitted each time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fit(self, asked: str, make: Callable[[], dict[str, AnyArray]]) -> dict[str, AnyArray]:
        """Return the arrays that were kept, else those that are made, and keep them.

        Args:
            asked: What they depend on: the gallery's digest, and how it is fitted.
            make: Makes them.
        """
        record = FitRecord(asked, __version__, VERSION)
        key = f"{record.asked} {record.release} {record.version}"
        path = self._folder / f"{sha256_from_bytes(key.encode())[:KEY_DIGITS]}.safetensors"
        arrays = _read(path, record)
        if arrays is None:
            arrays = make()
            self._keep(path, record, arrays)
        return arrays

    def _keep(self, path: Path, record: FitRecord, arrays: Mapping[str, AnyArray]) -> None:
        """Keep arrays, in the place of those that were not used for longest."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            FIT_FILE.write(path, record, arrays)
            files = [one for one in home_entries(self._folder) if one.suffix == ".safetensors"]
            for old in sorted(files, key=lambda one: -one.stat().st_mtime)[MOST_KEPT:]:
                old.unlink(missing_ok=True)
        except (OSError, GalleryError) as error:
            logger.info("%s: the fit of a gallery cannot be kept: %s", self._folder, error)


def _read(path: Path, record: FitRecord) -> dict[str, AnyArray] | None:
    """Return the arrays that a file holds; None where it holds none for this record."""
    try:
        found, arrays = FIT_FILE.read(path) if path.exists() else (None, {})
    except (OSError, GalleryError) as error:
        logger.warning("%s is not used: %s", path, error)
        return None
    if found != record:
        return None
    with suppress(OSError):  # a home that is only read
        path.touch()
    return arrays


def kept_fits() -> KeptFits:
    """Return the user's."""
    return KeptFits(home_dir() / "fits")
