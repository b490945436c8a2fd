"""Flip bits of a bundle, and see that it is refused with the file named.

    python benchmarks/tampering.py [--flips 10000] [--seed 0] [--record]

One bit, drawn by the seed, of every byte of the manifest, one after the other; then one bit of
`--flips` bytes drawn from graphs, weights and further files. Each time the bundle is opened in this
process, as every command opens one, and has to be refused with a message that names the file.

Exits with 1 when a flip was not refused or the message did not say where.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _record import finish, parser_of, settings_of
from lineup.bundles.bundle import open_bundle, read_bundle
from lineup.bundles.manifest import MANIFEST_NAME
from lineup.errors import BundleError
from lineup.paths import shipped_dir

SMALLEST = "pocket-captioner"


def answer_to_flip(bundle: Path, name: str, at: int, bit: int) -> str:
    """Return "refused", "not named" or "accepted" for one flipped bit of a file."""
    with (bundle / name).open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))
    try:
        open_bundle(bundle)
        return "accepted"
    except BundleError as error:
        return "refused" if name in error.message else "not named"
    finally:
        with (bundle / name).open("r+b") as file:
            file.seek(at)
            file.write(bytes([byte]))


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
    results: dict[str, Any] = {what: dict(counts) for what, counts in found.items()}
    results["minutes"] = round((time.perf_counter() - started) / 60, 1)
    for what, counts in found.items():
        print(f"{what:9} {dict(counts)}")
    finish("tampering", settings_of(arguments, "flips", "seed"), results, record=arguments.record)
    sys.exit(any(set(counts) - {"refused"} for counts in found.values()))


if __name__ == "__main__":
    main()
