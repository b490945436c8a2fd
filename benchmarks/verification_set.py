"""Lay out the folder that `lineup eval verification` takes.

    python benchmarks/verification_set.py --shared ../shared --output verification-set

OUTPUT/<generator>/ for every folder in SHARED/generated, and OUTPUT/photographs/ with the
photographs of SHARED/photos that `lineup train whitening` keeps apart from the fit. Files are hard
links where the disk allows it, else copies.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from lineup.errors import LineupError, UsageError
from lineup.files import staged_directory
from lineup.finding import find_images
from lineup_models.fingerprint.photographs import split_photographs

HELD_OUT = 150
PHOTOGRAPHS = "photographs"


def lay_out(shared: Path, output: Path, held_out: int = HELD_OUT) -> dict[str, int]:
    """Build the folder, whole or not at all.

    Args:
        shared: Holds generated/<source>/ and photos/.
        output: Folder to make; must not exist.
        held_out: Photographs to take.

    Returns:
        Number of images per source.

    Raises:
        UsageError: `shared` lacks a folder, or `output` exists.
    """
    for needed in (shared / "generated", shared / "photos"):
        if not needed.is_dir():
            raise UsageError(f"{needed} is not a folder.", hint="Name the shared folder: --shared.")
    if output.exists():
        raise UsageError(f"{output} exists already.", hint="Remove it, or name another --output.")
    sources = {
        folder.name: (folder, list(find_images([folder])))
        for folder in sorted((shared / "generated").iterdir())
        if folder.is_dir()
    }
    photos = shared / "photos"
    sources[PHOTOGRAPHS] = (photos, list(split_photographs(photos, held_out).held_out))
    with staged_directory(output) as staging:
        for name, (folder, paths) in sources.items():
            for path in paths:
                _place(path, staging / name / path.relative_to(folder))
    return {name: len(paths) for name, (_, paths) in sources.items()}


def _place(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target)
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(path, target)


def main() -> None:
    """Parse the command line, lay out the folder, and say how to go on."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True, help="holds generated/ and photos/")
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    arguments = parser.parse_args()
    try:
        counts = lay_out(arguments.shared, arguments.output)
    except LineupError as error:
        sys.exit(f"Error: {error}")
    for name, count in counts.items():
        print(f"{name:24}{count:6} images")
    print(
        f"\nNow run:\nlineup eval verification {arguments.output} --real {PHOTOGRAPHS} "
        "--support 0.5 --seed 0 -o verification.json"
    )


if __name__ == "__main__":
    main()
