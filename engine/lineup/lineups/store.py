"""The lineups of this machine: those in the package and the user's own under the home folder.

Layout: `lineups/<name>/lineup.toml`, beside what it names by relative paths.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lineup.bundles.manifest import NAME_PATTERN
from lineup.errors import LineupFileError, LineupNotFoundError, UsageError, did_you_mean
from lineup.files import write_atomic
from lineup.lineups.spec import (
    LINEUP_FILE,
    LINEUP_TOML,
    LineupSpec,
    toml_from_spec,
    with_calibration,
)
from lineup.paths import home_dir, home_entries, shipped_dir

DEFAULT_LINEUP = "pocket"
"""Resynthesises when that is asked for and no lineup is named; it ships."""

GALLERY_LINEUP = "gallery"
"""Name of the lineup of the shipped fingerprint and the gallery alone, which needs no file."""

LINEUPS_FOLDER = "lineups"
CALIBRATION_FILE = "calibration.json"


@dataclass(frozen=True, slots=True)
class Lineup:
    """A lineup and where it lies.

    Attributes:
        spec: What lineup.toml says.
        folder: Folder of lineup.toml; None for the lineup that has no file.
    """

    spec: LineupSpec
    folder: Path | None = None

    def bundle(self, reference: str) -> str | Path:
        """Return what `BundleStore.open` takes: a name in the store, or an absolute path."""
        return self.path(reference) if "/" in reference or os.sep in reference else reference

    def path(self, reference: str) -> Path:
        """Return a path that lineup.toml gives relative to itself."""
        base = Path() if self.folder is None else self.folder
        return (base / Path(reference).expanduser()).resolve()

    @property
    def gallery(self) -> Path | None:
        """Folder of the sources that join the shipped gallery and the user's own."""
        return None if self.spec.gallery is None else self.path(self.spec.gallery)

    @property
    def calibration(self) -> Path | None:
        """The calibration's file."""
        return None if self.spec.calibration is None else self.path(self.spec.calibration)


@dataclass(frozen=True, slots=True)
class StoredLineup:
    """A line of the list.

    Attributes:
        name: What `open_lineup` takes.
        path: The lineup's folder; None for the lineup that has no file.
        shipped: Comes with the package.
        spec: What it consists of; None when lineup.toml cannot be used.
        problem: Why it cannot be used, else None.
    """

    name: str
    path: Path | None
    shipped: bool
    spec: LineupSpec | None
    problem: str | None = None


def open_lineup(name_or_path: str | Path | None = None) -> Lineup:
    """Find and read a lineup; its models are not opened.

    Args:
        name_or_path: A `Path`, or text with a path separator or ending in `.toml`, is lineup.toml
            or its folder; other text is a name, the user's own before a shipped one. None is the
            gallery alone.

    Raises:
        LineupNotFoundError: There is no such lineup; lists those that exist.
        LineupFileError: lineup.toml cannot be used; names the field.
    """
    folders = lineup_folders()
    if name_or_path is None:
        name_or_path = GALLERY_LINEUP
    if _is_path(name_or_path):
        return _lineup_from_path(Path(name_or_path))
    name = str(name_or_path)
    if name in folders:
        return _lineup_from_path(folders[name])
    if name == GALLERY_LINEUP:
        return Lineup(LineupSpec(name=GALLERY_LINEUP))
    existing = sorted({*folders, GALLERY_LINEUP})
    raise LineupNotFoundError(
        f"There is no lineup {name!r}; there are: {', '.join(existing)}.",
        hint=did_you_mean(name, existing) or "Make one with: lineup lineups create NAME ...",
    )


def list_lineups() -> tuple[StoredLineup, ...]:
    """Return all lineups by name; one of the user's hides a shipped one of its name."""
    name = GALLERY_LINEUP
    rows = {name: StoredLineup(name, None, shipped=True, spec=LineupSpec(name))}
    for name, folder in lineup_folders().items():
        shipped = folder.parent == _shipped_folder()
        try:
            rows[name] = StoredLineup(name, folder, shipped, _lineup_from_path(folder).spec)
        except LineupFileError as error:
            rows[name] = StoredLineup(name, folder, shipped, None, error.message)
    return tuple(rows[name] for name in sorted(rows))


def create_lineup(spec: LineupSpec, *, force: bool = False) -> Path:
    """Write a lineup of the user's own.

    Relative paths in it count from the folder that is returned; `force` replaces one of its name,
    and hides one that comes with the package.

    Returns:
        The lineup's folder.

    Raises:
        UsageError: The name is taken.
        LineupFileError: The folder cannot be written.
    """
    folder = _user_folder() / spec.name
    if (folder / LINEUP_FILE).exists() and not force:
        raise UsageError(
            f"There is a lineup {spec.name!r} already, in {folder}.",
            hint="Choose another name, or replace it with --force.",
        )
    if is_shipped(spec.name) and not force:
        raise UsageError(
            f"The lineup {spec.name!r} comes with the package, and yours would hide it.",
            hint="Choose another name, or hide it with --force.",
        )
    try:
        write_atomic(folder / LINEUP_FILE, toml_from_spec(spec).encode())
    except OSError as error:
        raise LineupFileError(f"{folder}: cannot be written: {error.strerror}") from error
    return folder


def calibration_path(lineup: Lineup) -> Path:
    """Return the file that a calibration of a lineup of the user's own belongs in.

    Raises:
        UsageError: The lineup comes with the package, or has no file; names what works instead.
    """
    folder = lineup.folder
    if folder is None or folder.is_relative_to(_shipped_folder().resolve()):
        raise UsageError(
            f"The lineup {lineup.spec.name!r} comes with the package and cannot be changed.",
            hint="Make one of your own with `lineup lineups create NAME ...` and calibrate that, "
            "or give the calibration a file with --output.",
        )
    return lineup.calibration or folder / CALIBRATION_FILE


def use_calibration(lineup: Lineup, path: Path) -> None:
    """Make a lineup use the calibration at a path; all else in lineup.toml stays as it is.

    Raises:
        LineupFileError: lineup.toml cannot be written, or not be edited line by line.
    """
    if lineup.calibration == path or lineup.folder is None:
        return
    reference = os.path.relpath(path, lineup.folder)
    file = lineup.folder / LINEUP_FILE
    try:
        write_atomic(file, with_calibration(file.read_text("utf-8"), reference).encode())
    except OSError as error:
        raise LineupFileError(
            f"{file}: cannot be written: {error.strerror}",
            hint=f'Add to it, above the first table: calibration = "{reference}"',
        ) from error


def lineup_folders() -> dict[str, Path]:
    """Return the folder of every lineup by name."""
    found: dict[str, Path] = {}
    for parent in (_shipped_folder(), _user_folder()):
        found |= {
            path.name: path
            for path in home_entries(parent)
            if NAME_PATTERN.fullmatch(path.name) and os.path.isfile(path / LINEUP_FILE)  # noqa: PTH113 - never fails
        }
    return found


def is_shipped(name: str) -> bool:
    """Tell whether a lineup of this name comes with the package."""
    return name == GALLERY_LINEUP or (_shipped_folder() / name / LINEUP_FILE).is_file()


def _shipped_folder() -> Path:
    return shipped_dir() / LINEUPS_FOLDER


def _user_folder() -> Path:
    return home_dir() / LINEUPS_FOLDER


def _is_path(name_or_path: str | Path) -> bool:
    if isinstance(name_or_path, Path):
        return True
    return "/" in name_or_path or os.sep in name_or_path or name_or_path.endswith(".toml")


def _lineup_from_path(path: Path) -> Lineup:
    file = path / LINEUP_FILE if path.is_dir() else path
    if not file.is_file():
        raise LineupNotFoundError(
            f"{path} is not a lineup: there is no {LINEUP_FILE}.",
            hint="`lineup lineups list` shows the lineups that exist.",
        )
    return Lineup(LINEUP_TOML.read(file), file.parent.resolve())
