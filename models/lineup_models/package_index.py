"""Files inside packages of the package index, by the user's own pip; nothing is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import IO

from lineup.errors import BundleError


class PackageForm(Enum):
    """How a package lies on the index."""

    WHEEL = "wheel"
    SOURCE = "source"


_FLAGS = {
    PackageForm.WHEEL: ("--only-binary=:all:",),
    # Asked for its metadata, a source package runs its own build: with what is installed.
    PackageForm.SOURCE: ("--no-binary=:all:", "--no-build-isolation"),
}


_ARCHIVES = (".whl", ".tar.gz", ".zip")


def fetch_package(
    package: str, version: str, folder: Path, form: PackageForm = PackageForm.WHEEL
) -> Path:
    """Fetch one package into a folder without another; return its archive.

    pip's own progress and warnings go to standard error.

    Raises:
        BundleError: pip cannot fetch it; says why.
    """
    wanted = f"{package}=={version}"
    flags = ("--no-deps", "--disable-pip-version-check", *_FLAGS[form])
    command = [sys.executable, "-m", "pip", "download", *flags, "--dest", str(folder), wanted]
    done = subprocess.run(  # noqa: S603
        command, check=False, stdout=sys.stderr, stderr=subprocess.PIPE, text=True
    )
    archives = [path for path in folder.iterdir() if path.name.endswith(_ARCHIVES)]
    if done.returncode or not archives:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = (reasons or done.stderr.splitlines() or ["nothing came"])[-1]
        raise BundleError(f"pip could not download {wanted}: {reason.removeprefix('ERROR: ')}.")
    return archives[0]


def copy_member(archive: Path, member: str, target: Path) -> None:
    """Take one file out of a wheel or a source package.

    Raises:
        BundleError: It is not in there, or the archive is damaged.
    """
    try:
        with _opened(archive, member) as stream, target.open("wb") as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError, OSError) as error:
        raise BundleError(f"{archive.name} has no {member}: {error}.") from error


@contextmanager
def _opened(archive: Path, member: str) -> Iterator[IO[bytes]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel, wheel.open(member) as stream:
            yield stream
        return
    with tarfile.open(archive) as source:
        found = source.extractfile(member)
        if found is None:
            raise KeyError(member)
        yield found
