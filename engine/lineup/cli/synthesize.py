"""`lineup synthesize`: images of one candidate from a prompt."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.options import device_option, threads_option

if TYPE_CHECKING:
    from lineup.models.generator import ImageGenerator
    from lineup.models.options import SynthesisOptions


@click.command(short_help="Make images of a candidate from a prompt.")
@click.argument("candidate")
@click.option("--prompt", required=True, help="What the images show.")
@click.option(
    "--count", type=click.IntRange(min=1), default=1, show_default=True, help="Images to make."
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
@click.option("--width", type=click.IntRange(min=1), help="In pixels.  [default: its own]")
@click.option("--height", type=click.IntRange(min=1), help="In pixels.  [default: its own]")
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
def synthesize(**given: Any) -> None:
    """Make images of CANDIDATE, a generator bundle by name or path.

    Writes CANDIDATE-SEED.png per image, and synthesis.json with prompt, seeds, options, the
    identity of the bundle and the time per stage. The same seed gives the same image, whatever the
    other images are.
    """
    _synthesize(_Request(**given))


@dataclass(frozen=True, slots=True)
class _Request:
    """The command line, named and typed."""

    candidate: str
    prompt: str
    count: int
    seed: int
    output: Path
    steps: int | None
    guidance: float | None
    negative_prompt: str
    width: int | None
    height: int | None
    init: Path | None
    strength: float | None
    batch: int
    overwrite: bool
    device: str
    threads: int

    @property
    def seeds(self) -> range:
        return range(self.seed, self.seed + self.count)

    def options(self) -> SynthesisOptions:
        from lineup.imaging.decode import image_from_path
        from lineup.models.options import SynthesisOptions

        return SynthesisOptions(
            steps=self.steps,
            guidance=self.guidance,
            negative_prompt=self.negative_prompt,
            width_px=self.width,
            height_px=self.height,
            strength=self.strength,
            init_image=None if self.init is None else image_from_path(self.init).pixels,
            batch=self.batch,
        )


def _synthesize(request: _Request) -> None:
    from lineup.models.generator import open_generator
    from lineup.models.output import check_free, image_name, write_record

    options = request.options()
    with open_generator(
        request.candidate, device=request.device, threads=request.threads
    ) as generator:
        if not request.overwrite:
            names = (image_name(generator.name, seed) for seed in request.seeds)
            check_free(request.output, names)
        with _progress(request.count) as advance:
            images = []
            for image in _written_images(request, generator, options):
                images.append(image)
                advance()
        write_record(request.output, generator, request.prompt, options, images)
    noun = "image" if len(images) == 1 else "images"
    click.echo(f"wrote {len(images)} {noun} of {generator.name} to {request.output}")


def _written_images(
    request: _Request, generator: ImageGenerator, options: SynthesisOptions
) -> Iterator[dict[str, Any]]:
    """Make and write the images batch by batch; yield what the record says of each."""
    from lineup.models.output import image_name, write_image

    states = generator.text_states([request.prompt])
    for first in range(0, request.count, request.batch):
        seeds = request.seeds[first : first + request.batch]
        for seed, pixels in zip(seeds, generator.images(states, seeds, options), strict=True):
            name = image_name(generator.name, seed)
            digest = write_image(pixels, request.output / name)
            yield {"seed": seed, "file": name, "sha256": digest}


@contextmanager
def _progress(count: int) -> Iterator[Callable[[], None]]:
    """Show a bar on stderr if somebody can see it; yields what to call after every image."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("synthesize", total=count)
        yield lambda: progress.advance(task)
