"""Make the folder that `lineup calibrate` and `lineup eval attribution` take: pocket pictures.

    python benchmarks/attribution_set.py --split test --count 100 --output attribution-set \
        pocket-ash pocket-birch pocket-cedar pocket-dogwood bundles/pocket-elm

OUTPUT/<generator>/ holds pictures that each generator drew of scenes nobody was trained on,
OUTPUT/rendered/ the scenes themselves, and OUTPUT/prompts.json what was asked for. Every picture
has a scene, a prompt and a seed of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from lineup.errors import LineupError
from lineup.files import staged_directory, write_atomic
from lineup.models.generator import ImageGenerator
from lineup.runtime import Runtime
from lineup.types import RgbImage
from lineup_models.pocket.world.scene import scene_from_seed
from lineup_models.pocket.world.splits import Split, example_from_index, seed_from_index

FIRST_SEED = 1 << 20
"""Noise of the queries; resyntheses take seeds from 0."""

RENDERED = "rendered"


def make_set(
    generators: Sequence[str], output: Path, *, split: Split, first: int, count: int, threads: int
) -> dict[str, int]:
    """Draw the pictures, all or none.

    Args:
        generators: Bundles, by name or path; a folder is called after its bundle.
        output: Folder to make; must not exist.
        split: Whose scenes.
        first: Number of the first scene.
        count: Pictures per generator, and rendered ones.
        threads: Threads of the models; 0 takes every core.

    Returns:
        Number of pictures per source.
    """
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


def _write(path: Path, pixels: RgbImage) -> None:
    path.parent.mkdir(exist_ok=True)
    is_encoded, data = cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))
    assert is_encoded
    path.write_bytes(data.tobytes())


def main() -> None:
    """Parse the command line, make the folder, and say what is in it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("generators", nargs="+", help="bundles, by name or path")
    parser.add_argument("--split", type=Split, choices=list(Split), default=Split.TEST)
    parser.add_argument("--first", type=int, default=0, help="number of the first scene")
    parser.add_argument("--count", type=int, default=100, help="pictures per source")
    parser.add_argument("--threads", type=int, default=0, help="of the models; 0: every core")
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    options = parser.parse_args()
    if options.output.exists():
        sys.exit(f"Error: {options.output} exists already.")
    try:
        counts = make_set(
            options.generators,
            options.output,
            split=options.split,
            first=options.first,
            count=options.count,
            threads=options.threads,
        )
    except LineupError as error:
        sys.exit(f"Error: {error}")
    for name, number in counts.items():
        print(f"{name:24}{number:6} images")


if __name__ == "__main__":
    main()
