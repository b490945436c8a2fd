"""What fitting galleries found, kept under the home folder: the next process need not fit again.

A fit takes longer than judging an image. It is kept by what it depends on, so that it is never used
for another gallery; what was not used for longest goes. Nothing but time is lost with it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
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

    def find(self, asked: str) -> dict[str, AnyArray] | None:
        """Return the arrays that were kept; None where there are none."""
        record = FitRecord(asked, __version__, VERSION)
        path = self._path(record)
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

    def keep(self, asked: str, arrays: Mapping[str, AnyArray]) -> None:
        """Keep arrays, in the place of those that were not used for longest."""
        record = FitRecord(asked, __version__, VERSION)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            FIT_FILE.write(self._path(record), record, arrays)
            files = [path for path in home_entries(self._folder) if path.suffix == ".safetensors"]
            for path in sorted(files, key=lambda path: -path.stat().st_mtime)[MOST_KEPT:]:
                path.unlink(missing_ok=True)
        except (OSError, GalleryError) as error:
            logger.info("%s: the fit of a gallery cannot be kept: %s", self._folder, error)

    def _path(self, record: FitRecord) -> Path:
        key = f"{record.asked} {record.release} {record.version}"
        return self._folder / f"{sha256_from_bytes(key.encode())[:KEY_DIGITS]}.safetensors"


def kept_fits() -> KeptFits:
    """Return the user's."""
    return KeptFits(home_dir() / "fits")
