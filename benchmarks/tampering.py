"""Flip bits of a bundle, a calibration and a gallery; see that they are refused, the file named.

    python benchmarks/tampering.py [--flips 10000] [--seed 0] [--record]

One bit, drawn by the seed, of every byte of the manifest, one after the other; then one bit of
`--flips` bytes drawn from graphs, weights and further files; the same for a gallery's manifest and
files; of a calibration, `--flips` bytes. Each time what was altered is read in this process, as
every command reads it, and has to be refused with a message that names the file.

Exits with 1 when a flip was not refused or the message did not say where.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from _record import finish, parser_of, settings_of
from lineup.bundles.bundle import open_bundle, read_bundle
from lineup.bundles.manifest import MANIFEST_NAME
from lineup.calibration.calibration import CALIBRATION
from lineup.errors import LineupError
from lineup.gallery.store import GalleryStore
from lineup.gallery.tensors import gallery_from_file
from lineup.paths import shipped_dir

SMALLEST = "pocket-captioner"
CALIBRATION_NAME = "calibration.json"


def answer_to_flip(
    folder: Path, name: str, at: int, bit: int, read: Callable[[Path], object] = open_bundle
) -> str:
    """Return "refused", "not named" or "accepted" for one flipped bit of a file."""
    with (folder / name).open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))
    try:
        read(folder)
        return "accepted"
    except LineupError as error:
        return "refused" if name in error.message else "not named"
    finally:
        with (folder / name).open("r+b") as file:
            file.seek(at)
            file.write(bytes([byte]))


def calibration_in(folder: Path) -> Path:
    """Write the shipped calibration, as this version writes one; return the folder."""
    shipped = shipped_dir() / "lineups" / "pocket" / CALIBRATION_NAME
    CALIBRATION.write(folder / CALIBRATION_NAME, CALIBRATION.read(shipped))
    return folder


def read_calibration(folder: Path) -> object:
    """Read what `calibration_in` wrote."""
    return CALIBRATION.read(folder / CALIBRATION_NAME)


def gallery_in(folder: Path) -> Path:
    """Write the samples' gallery as a folder of a user's; return it."""
    GalleryStore(folder).merge(gallery_from_file(shipped_dir() / "samples" / "gallery.safetensors"))
    return folder


def read_gallery_folder(folder: Path) -> object:
    """Read what `gallery_in` wrote."""
    return GalleryStore(folder).read()


def gallery_places(folder: Path, flips: int, draw: random.Random) -> Iterator[tuple[str, int]]:
    """Yield every byte of the manifest, and `flips` bytes of the sources."""
    yield from ((MANIFEST_NAME, at) for at in range((folder / MANIFEST_NAME).stat().st_size))
    files = sorted((folder / "sources").iterdir())
    for file in draw.choices(files, [one.stat().st_size for one in files], k=flips):
        yield f"sources/{file.name}", draw.randrange(file.stat().st_size)


def places(bundle: Path, flips: int, draw: random.Random) -> Iterator[tuple[str, int]]:
    """Yield every byte of the manifest, and `flips` bytes of what else a bundle consists of."""
    yield from ((MANIFEST_NAME, at) for at in range((bundle / MANIFEST_NAME).stat().st_size))
    records = read_bundle(bundle)[1].records()
    sizes = [record.size_bytes for record in records]
    for record in draw.choices(records, sizes, k=flips):
        yield record.path, draw.randrange(record.size_bytes)


def answers(bundle: Path, flips: int, seed: int) -> dict[str, Counter[str]]:
    """Flip one bit after the other; count the answers for the manifest and for all else."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    found: dict[str, Counter[str]] = {"manifest": Counter(), "files": Counter()}
    for name, at in list(places(bundle, flips, draw)):
        what = "manifest" if name == MANIFEST_NAME else "files"
        found[what][answer_to_flip(bundle, name, at, draw.randrange(8))] += 1
    open_bundle(bundle)  # every flip was put right again
    return found


def other_answers(folder: Path, flips: int, seed: int) -> dict[str, Counter[str]]:
    """Flip bits of a calibration and a gallery that are made in `folder`; count the answers."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    calibration, gallery = calibration_in(folder), gallery_in(folder / "gallery")
    size = (calibration / CALIBRATION_NAME).stat().st_size
    found: dict[str, Counter[str]] = {"calibration": Counter(), "gallery": Counter()}
    for at in draw.sample(range(size), min(size, flips)):
        bit = draw.randrange(8)
        answer = answer_to_flip(calibration, CALIBRATION_NAME, at, bit, read_calibration)
        found["calibration"][answer] += 1
    for name, at in list(gallery_places(gallery, flips // 10, draw)):
        answer = answer_to_flip(gallery, name, at, draw.randrange(8), read_gallery_folder)
        found["gallery"][answer] += 1
    return found


def main() -> None:
    """Flip, open, count."""
    parser = parser_of(__doc__)
    parser.add_argument("--flips", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        bundle = Path(name, "bundle")
        shutil.copytree(shipped_dir() / "bundles" / SMALLEST, bundle)
        found = answers(bundle, arguments.flips, arguments.seed)
        found |= other_answers(Path(name), arguments.flips, arguments.seed)
    results: dict[str, Any] = {what: dict(counts) for what, counts in found.items()}
    results["minutes"] = round((time.perf_counter() - started) / 60, 1)
    for what, counts in found.items():
        print(f"{what:11} {dict(counts)}")
    finish("tampering", settings_of(arguments, "flips", "seed"), results, record=arguments.record)
    sys.exit(any(set(counts) - {"refused"} for counts in found.values()))


if __name__ == "__main__":
    main()
