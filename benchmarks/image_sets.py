"""Make the folders of images that commands of lineup are measured on.

    python benchmarks/image_sets.py verification --shared ../shared --output verification-set
    python benchmarks/image_sets.py wild --shared ../shared --output wild-set
    python benchmarks/image_sets.py attribution --split test --count 100 --output attribution-set \
        pocket-ash pocket-birch pocket-cedar pocket-dogwood bundles/pocket-elm
    python benchmarks/image_sets.py prompts --shared ../shared --output prompts-set
    python benchmarks/image_sets.py broken --output DIR

`verification` is what `lineup eval verification` takes: OUTPUT/<generator>/ for every folder in
SHARED/generated, and OUTPUT/photographs/ with the photographs of SHARED/photos and
SHARED/photos_native that `lineup train whitening` keeps apart from the fit. Files are hard links
where the disk allows it, else copies.

`wild` is what `lineup eval wild` takes, beside SHARED/recompressed: the same folders of generators,
and in OUTPUT/photos the photographs of SHARED/photos_native that neither the shipped gallery nor
the head on CLIP's tokens has seen.

`attribution` is what `lineup calibrate` and `lineup eval attribution` take: OUTPUT/<generator>/
holds pictures that each generator drew of scenes nobody was trained on, OUTPUT/rendered/ the scenes
themselves, and OUTPUT/prompts.json what was asked for. Every picture has a scene, a prompt and a
seed of its own.

`prompts` is what `lineup eval attribution --stored` takes: real pictures of prompts that several
generators drew (SHARED/generated/sources.csv names them). Each is OUTPUT/<source>/ID.png, and what
each generator drew of the same prompt, the picture itself left out, is
OUTPUT/<source>/images/<generator>/ID-0.png and so on: it stands for resyntheses. Only prompts that
all of the generators drew count. With `--references aligned` or `arbitrary` pictures of other
prompts are taken as well, those of the nearest prompts first, or any.

`broken` are twenty files that no image scan may stumble over.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import cv2
import numpy as np

from _mutation_worker import png_chunk
from lineup.errors import LineupError, UsageError
from lineup.files import link_or_copy, sha256_from_bytes, staged_directory, write_atomic
from lineup.finding import find_images
from lineup.models.generator import ImageGenerator
from lineup.runtime import Runtime
from lineup.types import RgbImage
from lineup_models.photograph_head import held_out_paths
from lineup_models.photographs import HOLD_OUT, split_photographs
from lineup_models.pocket.world.scene import scene_from_seed
from lineup_models.pocket.world.splits import Split, example_from_index, seed_from_index

PHOTOGRAPHS = "photographs"
RENDERED = "rendered"
FIRST_SEED = 1 << 20
"""Noise of the queries; resyntheses take seeds from 0."""

NOISE = np.random.default_rng(20261122).integers(0, 256, (300, 400, 3), np.uint8)


def refuse_existing(output: Path) -> None:
    """Raise UsageError if there is something already."""
    if output.exists():
        raise UsageError(f"{output} exists already.", hint="Remove it, or name another --output.")


def lay_out(shared: Path, output: Path, held_out: int = HOLD_OUT) -> dict[str, int]:
    """Build the folder for `verification`, whole or not at all.

    Args:
        shared: Holds generated/<source>/, photos/ and photos_native/.
        output: Folder to make; must not exist.
        held_out: Photographs to take.

    Returns:
        Number of images per source.

    Raises:
        UsageError: `shared` lacks a folder, or `output` exists.
    """
    photos = [shared / "photos", shared / "photos_native"]
    _require(shared / "generated", *photos)
    chosen = split_photographs(photos, held_out).held_out
    return _lay_out_beside(shared, output, PHOTOGRAPHS, shared, chosen)


def lay_out_wild(shared: Path, output: Path) -> dict[str, int]:
    """Build the folder for `wild`, as `lay_out` does."""
    native = shared / "photos_native"
    _require(shared / "generated", native)
    folders = sorted(one for one in native.iterdir() if one.is_dir())
    chosen = [path for folder in folders for path in held_out_paths(folder)]
    return _lay_out_beside(shared, output, "photos", native, chosen)


def _require(*folders: Path) -> None:
    for needed in folders:
        if not needed.is_dir():
            raise UsageError(f"{needed} is not a folder.", hint="Name the shared folder: --shared.")


def _lay_out_beside(
    shared: Path, output: Path, name: str, root: Path, photographs: Sequence[Path]
) -> dict[str, int]:
    """Build a folder of all generators, and of photographs that lie below `root`."""
    refuse_existing(output)
    sources = {
        folder.name: (folder, list(find_images([folder])))
        for folder in sorted((shared / "generated").iterdir())
        if folder.is_dir()
    }
    sources[name] = (root, list(photographs))
    with staged_directory(output) as staging:
        for source, (folder, paths) in sources.items():
            for path in paths:
                _link(path, staging / source / path.relative_to(folder))
    return {source: len(paths) for source, (_, paths) in sources.items()}


def make_set(
    generators: Sequence[str], output: Path, *, split: Split, first: int, count: int, threads: int
) -> dict[str, int]:
    """Draw the pictures, all or none.

    Args:
        generators: Bundles, by name or path; a folder is called after its bundle.
        output: Folder to make.
        split: Whose scenes.
        first: Number of the first scene.
        count: Pictures per generator, and rendered ones.
        threads: Threads of the models; 0 takes every core.

    Returns:
        Number of pictures per source.

    Raises:
        UsageError: `output` exists.
    """
    refuse_existing(output)
    prompts: dict[str, str] = {}
    counts = {}
    with staged_directory(output) as staging:
        for place, bundle in enumerate(generators):
            with Runtime("cpu", threads=threads).open(ImageGenerator, bundle) as generator:
                for number in range(count):
                    index = first + place * count + number
                    prompt = scene_from_seed(seed_from_index(split, index)).captions()[0]
                    name = f"{generator.name}/{number:04}.png"
                    (pixels,) = generator.images(prompt, [FIRST_SEED + index])
                    _write(staging / name, pixels)
                    prompts[name] = prompt
                counts[generator.name] = count
        for number in range(count):
            example = example_from_index(split, first + len(generators) * count + number)
            name = f"{RENDERED}/{number:04}.png"
            _write(staging / name, example.pixels)
            prompts[name] = example.captions[0]
        write_atomic(staging / "prompts.json", json.dumps(prompts, indent=1).encode())
    return counts | {RENDERED: count}


class References(str, Enum):
    """What stands for resyntheses of a picture."""

    SAME_PROMPT = "same-prompt"
    ALIGNED = "aligned"
    """Whatever a maker drew, that of the nearest prompts first: most words in common."""

    ARBITRARY = "arbitrary"


@dataclass(frozen=True)
class Drawn:
    """A picture of a known prompt."""

    path: Path
    maker: str
    words: frozenset[str]


def drawn_from_table(generated: Path, makers: Sequence[str]) -> list[Drawn]:
    """Return the pictures of some makers; the folder of the original is called after its prompt."""
    with (generated / "sources.csv").open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    return [
        Drawn(generated / line["file"], maker, frozenset(words.split("-")))
        for line in lines
        for maker, words in [
            (Path(line["file"]).parts[0], Path(line["source"]).parent.name.rpartition("-")[0])
        ]
        if maker in makers
    ]


def lay_out_prompts(
    shared: Path, output: Path, makers: Sequence[str], references: References, most: int
) -> dict[str, int]:
    """Build the folder of `prompts`, whole or not at all; return the number of queries per maker.

    Queries are the same for all kinds of references: pictures of prompts that every maker drew, and
    their own maker at least twice.

    Raises:
        UsageError: `output` exists, or no prompt was drawn by all makers.
    """
    refuse_existing(output)
    drawn = drawn_from_table(shared / "generated", makers)
    count = Counter((one.words, one.maker) for one in drawn)
    queries = [
        one
        for one in drawn
        if all(count[one.words, maker] for maker in makers) and count[one.words, one.maker] > 1
    ]
    if not queries:
        raise UsageError(f"No prompt was drawn by all of {', '.join(makers)}.")
    with staged_directory(output) as staging:
        for query in queries:
            _link(query.path, staging / query.maker / query.path.name)
            for maker in makers:
                folder = staging / query.maker / "images" / maker
                others = [one for one in drawn if one.maker == maker and one is not query]
                for number, one in enumerate(_ordered(query, others, references)[:most]):
                    _link(one.path, folder / f"{query.path.stem}-{number}{one.path.suffix}")
    return Counter(one.maker for one in queries)


def _ordered(query: Drawn, others: Sequence[Drawn], references: References) -> list[Drawn]:
    """Return what stands for a maker's resyntheses of a query, in an order that is drawn."""
    if references is References.SAME_PROMPT:
        return [one for one in others if one.words == query.words]

    def nearness(one: Drawn) -> tuple[float, str]:
        alike = len(one.words & query.words) / len(one.words | query.words)
        name = f"{query.maker}/{query.path.name}/{one.path.name}"
        return -alike * (references is References.ALIGNED), sha256_from_bytes(name.encode())

    return sorted(others, key=nearness)


def _link(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    link_or_copy(path, target)


def encoded(pixels: RgbImage, suffix: str) -> bytes:
    """Return an image in the format of `suffix`."""
    return cv2.imencode(suffix, np.ascontiguousarray(pixels[..., ::-1]))[1].tobytes()


def _write(path: Path, pixels: RgbImage) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encoded(pixels, ".png"))


def png_header(width_px: int, height_px: int) -> bytes:
    """Return a PNG that claims a size and holds next to nothing."""
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(b"\0" * 1000),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*one) for one in chunks.items())


def damaged(data: bytes, start: float, length: int) -> bytes:
    """Return `data` with `length` bytes zeroed from the fraction `start` on."""
    at = int(start * len(data))
    return data[:at] + b"\0" * length + data[at + length :]


def broken_files() -> dict[str, bytes]:
    """Return the content per name of what is an ordinary file."""
    suffixes = (".jpg", ".png", ".webp", ".tiff")
    jpeg, png, webp, tiff = (encoded(NOISE, suffix) for suffix in suffixes)
    return {
        "zero-bytes.jpg": b"",
        "one-byte.png": b"\x89",
        "text.jpg": b"This is a text, whatever its name says.\n",
        "page.png": b"<!DOCTYPE html><html><body>404</body></html>",
        "random.jpg": np.random.default_rng(1).bytes(50_000),
        "random.webp": np.random.default_rng(2).bytes(50_000),
        "truncated-10.jpg": jpeg[: len(jpeg) // 10],
        "truncated-60.jpg": jpeg[: len(jpeg) * 6 // 10],
        "truncated-99.jpg": jpeg[: len(jpeg) * 99 // 100],
        "truncated-50.png": png[: len(png) // 2],
        "truncated-99.png": png[: len(png) * 99 // 100],
        "truncated-50.webp": webp[: len(webp) // 2],
        "truncated-50.tiff": tiff[: len(tiff) // 2],
        "damaged.png": damaged(png, 0.5, 2_000),
        "header-60000x60000.png": png_header(60_000, 60_000),
        "header-0x0.png": png_header(0, 0),
        "magic-only.gif": b"GIF89a",
    }


def special_files() -> dict[str, Callable[[Path], None]]:
    """Return how to make what is no ordinary file."""
    return {
        "fifo.png": os.mkfifo,
        "dangling-link.png": lambda path: path.symlink_to("nowhere"),
        "loop.png": lambda path: path.symlink_to(path.name),
    }


def make_broken(output: Path) -> dict[str, int]:
    """Fill a new folder with them, and with a folder that is named like an image."""
    files, special = broken_files(), special_files()
    output.mkdir(parents=True)
    for name, content in files.items():
        (output / name).write_bytes(content)
    for name, make in special.items():
        make(output / name)
    (output / "unreadable.png").write_bytes(encoded(NOISE, ".png"))
    (output / "unreadable.png").chmod(0)
    (output / "folder.png").mkdir()
    return {"broken": len(files) + len(special), "unreadable.png": 1, "folder.png/": 1}


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    verification = commands.add_parser("verification", help="links to generated and held-out files")
    verification.add_argument(
        "--shared", type=Path, required=True, help="has generated/, photos/, photos_native/"
    )
    wild = commands.add_parser("wild", help="links to generated and native photographs")
    wild.add_argument("--shared", type=Path, required=True, help="has generated/, photos_native/")
    attribution = commands.add_parser("attribution", help="pictures drawn by generators")
    attribution.add_argument("generators", nargs="+", help="bundles, by name or path")
    attribution.add_argument("--split", type=Split, choices=list(Split), default=Split.TEST)
    attribution.add_argument("--first", type=int, default=0, help="number of the first scene")
    attribution.add_argument("--count", type=int, default=100, help="pictures per source")
    attribution.add_argument("--threads", type=int, default=0, help="of the models; 0: every core")
    prompts = commands.add_parser("prompts", help="links to pictures of the same prompts")
    prompts.add_argument("--shared", type=Path, required=True, help="has generated/sources.csv")
    prompts.add_argument(
        "--makers",
        nargs="+",
        default=["dalle-mini", "disco-diffusion", "sd-beta", "simulacra"],
        help="folders of generated/",
    )
    prompts.add_argument(
        "--references", type=References, choices=list(References), default=References.SAME_PROMPT
    )
    prompts.add_argument("--most", type=int, default=10, help="references per maker")
    broken = commands.add_parser("broken", help="files that cannot be read")
    for command in (verification, wild, attribution, prompts, broken):
        command.add_argument("--output", type=Path, required=True, help="folder to make")
    return parser.parse_args()


def main() -> None:
    """Make the folder, and say what is in it."""
    options = parse_arguments()
    try:
        if options.command == "verification":
            counts = lay_out(options.shared, options.output)
        elif options.command == "wild":
            counts = lay_out_wild(options.shared, options.output)
        elif options.command == "prompts":
            counts = lay_out_prompts(
                options.shared,
                options.output,
                options.makers,
                options.references,
                options.most,
            )
        elif options.command == "attribution":
            counts = make_set(
                options.generators,
                options.output,
                split=options.split,
                first=options.first,
                count=options.count,
                threads=options.threads,
            )
        else:
            counts = make_broken(options.output)
    except LineupError as error:
        sys.exit(f"Error: {error}")
    for name, count in counts.items():
        print(f"{name:24}{count:6} images")


if __name__ == "__main__":
    main()
