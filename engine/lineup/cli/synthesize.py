"""`lineup synthesize`: images of one candidate from a prompt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup._version import __version__
from lineup.cli.options import device_option, threads_option
from lineup.cli.progress import tracked
from lineup.cli.tables import messages_console, say
from lineup.errors import UsageError

if TYPE_CHECKING:
    from lineup.models.generator import ImageGenerator, SynthesisOptions

RECORD_NAME = "synthesis.json"
"""Beside the images: prompt, seeds, options, identity of the generator, costs."""


@click.command(short_help="Make images of a candidate from a prompt.")
@click.argument("candidate")
@click.option("--prompt", required=True, help="What the images show.")
@click.option(
    "--count", type=click.IntRange(1, 100_000), default=1, show_default=True, help="Images to make."
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**64 - 1),
    default=0,
    show_default=True,
    help="Seed of the first image; each further one takes the next.",
)
@click.option(
    "--output",
    "-o",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the images; made if absent.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Denoising steps.  [default: its own]")
@click.option(
    "--guidance",
    type=click.FloatRange(min=0),
    help="Guidance scale; 1 or less is none.  [default: its own]",
)
@click.option("--negative-prompt", default="", help="What guidance keeps away from.")
@click.option(
    "--width", "width_px", type=click.IntRange(min=1), help="In pixels.  [default: its own]"
)
@click.option(
    "--height", "height_px", type=click.IntRange(min=1), help="In pixels.  [default: its own]"
)
@click.option(
    "--init",
    metavar="IMAGE",
    type=click.Path(path_type=Path),
    help="Image to redraw; needs --strength.",
)
@click.option(
    "--strength",
    type=click.FloatRange(min=0, max=1, min_open=True),
    help="How much of --init is redrawn; 1 is all.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Images per run of the denoiser.",
)
@click.option("--overwrite", is_flag=True, help="Replace images that are there.")
@device_option
@threads_option
def synthesize(
    *,
    candidate: str,
    prompt: str,
    count: int,
    seed: int,
    output: Path,
    init: Path | None,
    overwrite: bool,
    device: str,
    threads: int,
    **settings: Any,
) -> None:
    """Make images of CANDIDATE, a generator bundle by name or path.

    Writes CANDIDATE-SEED.png per image, and synthesis.json with prompt, seeds, options, the
    identity of the bundle and the time per stage. The same seed gives the same image, whatever the
    other images are.
    """
    from lineup.finding import check_free, check_output
    from lineup.models.generator import ImageGenerator, SynthesisOptions
    from lineup.reading import read_image
    from lineup.runtime import Runtime

    options = SynthesisOptions(
        **settings, init_image=None if init is None else read_image(init).pixels
    )
    seeds = range(seed, seed + count)
    with Runtime(device, threads=threads).open(ImageGenerator, candidate) as generator:
        names = [image_name(generator.name, one) for one in seeds]
        if not overwrite:
            check_free(output, [RECORD_NAME, *names])
        for name in names:
            check_output(output / name, [] if init is None else [init])
        written = _written_images(generator, prompt, seeds, options, output)
        images = list(tracked(written, "synthesize", messages_console(), total=count))
        record = _record(generator, prompt, options, images)
        _write(output / RECORD_NAME, (json.dumps(record, indent=2) + "\n").encode("ascii"))
    noun = "image" if len(images) == 1 else "images"
    say(f"wrote {len(images)} {noun} of {generator.name} to {output}")


def image_name(candidate: str, seed: int) -> str:
    """Return the file name of an image."""
    return f"{candidate}-{seed}.png"


def _written_images(
    generator: ImageGenerator,
    prompt: str,
    seeds: Sequence[int],
    options: SynthesisOptions,
    folder: Path,
) -> Iterator[dict[str, Any]]:
    """Make and write the images batch by batch; yield what the record says of each."""
    import cv2

    from lineup.files import sha256_from_bytes

    states = generator.text_states([prompt])
    for first in range(0, len(seeds), options.batch):
        batch = seeds[first : first + options.batch]
        for seed, pixels in zip(batch, generator.images(states, batch, options), strict=True):
            name = image_name(generator.name, seed)
            data = cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
            _write(folder / name, data)
            yield {"seed": seed, "file": name, "sha256": sha256_from_bytes(data)}


def _record(
    generator: ImageGenerator,
    prompt: str,
    options: SynthesisOptions,
    images: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Return what was made and how; `images` holds the seed, name and hash of each."""
    import numpy as np

    from lineup.files import sha256_from_bytes

    info = generator.info
    return {
        "candidate": generator.name,
        "digest": generator.digest,
        "prompt": prompt,
        "negative_prompt": options.negative_prompt,
        "steps": options.steps or info.steps,
        "guidance": info.guidance if options.guidance is None else options.guidance,
        "width_px": options.width_px or info.native_width_px,
        "height_px": options.height_px or info.native_height_px,
        "strength": options.strength,
        "init_sha256": None
        if options.init_image is None
        else sha256_from_bytes(np.ascontiguousarray(options.init_image).tobytes()),
        "device": str(generator.device),
        "images": list(images),
        "ms": {stage: round(value, 3) for stage, value in generator.trace.ms.items()},
        "calls": dict(generator.trace.calls),
        "lineup": __version__,
    }


def _write(path: Path, data: bytes) -> None:
    from lineup.files import write_atomic

    try:
        write_atomic(path, data)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
