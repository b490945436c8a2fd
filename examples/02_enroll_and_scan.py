"""Teach the engine two sources from sample images, then ask about other images of theirs.

The sources are drawn here: the same kind of scene, doubled in size by two ways of upsampling,
which leave different traces, as the decoders of generators do.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

import lineup

SOURCES = {"toy-nearest": Image.Resampling.NEAREST, "toy-bicubic": Image.Resampling.BICUBIC}


def draw(path: Path, seed: int, upsampling: Image.Resampling) -> None:
    """Write one image of 320 x 320 pixels."""
    rng = np.random.default_rng(seed)
    colours = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize((160, 160))
    grain = np.asarray(colours) + rng.normal(0, 6, (160, 160, 3))
    Image.fromarray(grain.clip(0, 255).astype(np.uint8)).resize((320, 320), upsampling).save(path)


# Without `gallery`, what is enrolled goes to your own gallery, which every command knows.
with TemporaryDirectory() as name, lineup.open(gallery=Path(name, "gallery")) as engine:
    for offset, (source, upsampling) in enumerate(SOURCES.items()):
        for split, seeds in (("enrol", range(12)), ("ask", range(12, 15))):
            folder = Path(name, split, source)
            folder.mkdir(parents=True)
            for seed in seeds:
                draw(folder / f"{seed}.png", 100 * offset + seed, upsampling)
        print(f"{source}: {engine.enroll(source, Path(name, 'enrol', source)).added} images")
    for row in engine.scan(Path(name, "ask")):  # a broken file would be a row too, with an error
        print(Path(row.path).parent.name, "->", row.verdict.title, row.verdict.confidence)
    answer = engine.verify(Path(name, "ask", "toy-nearest", "12.png"), "toy-bicubic")
    print(f"toy-nearest/12.png by toy-bicubic: {answer.accepted}, {answer.probability:.1%}")
