"""Would a distilled decoder pay as a preview: which candidates to decode in full, and at what cost.

    python benchmarks/previews.py SET [--lineup pocket] [--steps 150] [--limit 12] [--record]

A decoder of TAESD's kind (diffusers' `AutoencoderTiny`) learns, by a seed, to draw what each of the
lineup's decoders draws of its generator's own latents. Then every query of SET (folders named after
candidates) is captioned, each candidate denoises once, and both decoders draw. The embedding of the
query ranks the candidates by either; figures are how often its own is among the first, and the
processor time of every stage for one candidate. Ends in one JSON line.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from _record import finish, parser_of, settings_of
from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt import RuntimeOptions, runner_from_onnx
from lineup.lineups.store import Lineup, open_lineup
from lineup.models.autoencoder import images_from_decoded
from lineup.models.captioner import Captioner
from lineup.models.encoder import ImageEncoder
from lineup.models.generator import ImageGenerator
from lineup.reading import read_image
from lineup.runtime import Runtime
from lineup.types import Float32Array, RgbImage
from lineup_lab.cli.options import limited_folders
from lineup_models.pocket.world.scene import scene_from_seed
from lineup_models.pocket.world.splits import Split, seed_from_index

WIDTH, BATCH, CROP_CELLS = 8, 4, 8
FIRST_SCENE = 20_000

Decode = Callable[[Float32Array], RgbImage]


class Clock:
    """Processor milliseconds per stage, and how often it ran."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block to a stage."""
        start = time.process_time()
        yield
        self.spent[name].append(1e3 * (time.process_time() - start))

    def medians(self) -> dict[str, float]:
        """Return the median per stage."""
        return {name: round(float(np.median(all_ms)), 2) for name, all_ms in self.spent.items()}


def preview_decoder(channels: int, factor: int) -> Any:
    """Return an untrained decoder of latents, `factor` pixels a cell."""
    from diffusers.models.autoencoders.vae import DecoderTiny  # noqa: PLC0415 - heavy

    levels = factor.bit_length()
    return DecoderTiny(
        channels, 3, (1,) * levels, (WIDTH,) * levels, 2, "relu", upsample_fn="nearest"
    )


def trained_preview(
    generator: ImageGenerator, folder: Path, *, pictures: int, steps: int, seed: int
) -> Decode:
    """Distil a generator's decoder, export it, and return what decodes one latent by it."""
    import torch  # noqa: PLC0415 - heavy

    from lineup_export.graph import InputSpec, graph_from_module  # noqa: PLC0415

    latents, images = [], []
    for number in range(pictures):
        prompt = scene_from_seed(seed_from_index(Split.TRAINING, FIRST_SCENE + number)).captions()
        latents.append(generator.latents(prompt[0], [number]))
        images += generator.images_from_latents(latents[-1])
    given = torch.from_numpy(np.concatenate(latents))
    wanted = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    factor = generator.info.latent_factor
    torch.manual_seed(seed)
    decoder = preview_decoder(given.shape[1], factor)
    random = np.random.default_rng(seed)
    optimiser = torch.optim.Adam(decoder.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    cells = min(CROP_CELLS, given.shape[2])
    for _ in range(steps):
        rows = random.integers(0, pictures, BATCH)
        top, left = random.integers(0, given.shape[2] - cells + 1, 2)
        part = given[rows, :, top : top + cells, left : left + cells]
        area = [slice(factor * one, factor * (one + cells)) for one in (top, left)]
        error = (decoder(part) - wanted[rows, :, area[0], area[1]]).abs().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        schedule.step()
    spec = InputSpec("latents", given[:2], {0: "images"})
    path = graph_from_module(
        decoder.eval().requires_grad_(False), [spec], ["image"], opset=18, fuse_attention=True
    ).write(folder)
    runner = runner_from_onnx(path, Device(DeviceKind.CPU), RuntimeOptions(threads=1))
    return lambda one: images_from_decoded(runner.run({"latents": one})["image"])[0]


def multiply_adds() -> dict[str, float]:
    """Return 10^9 multiply-adds of one picture: public decoders, and the pocket ones."""
    import torch  # noqa: PLC0415 - heavy
    from diffusers import AutoencoderKL, AutoencoderTiny  # noqa: PLC0415
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415

    from lineup_models.pocket.architectures import SIZE_PX, VAES  # noqa: PLC0415
    from lineup_models.pocket.vae import VaeDecoder  # noqa: PLC0415
    from lineup_models.recipes.read import open_recipe  # noqa: PLC0415

    def counted(decode: Callable[..., Any], *shape: int, device: str = "cpu") -> float:
        with FlopCounterMode(display=False) as counter:
            decode(torch.zeros(1, *shape, device=device))
        return round(counter.get_total_flops() / 2e9, 2)

    config = dict(open_recipe("sd-turbo").component("vae").architecture.config)
    with torch.no_grad():
        with torch.device("meta"):
            public = {
                "sd-turbo, 512 px": AutoencoderKL.from_config(config),
                "AutoencoderTiny, 512 px": AutoencoderTiny(),
            }
        found = {
            name: counted(vae.decoder, 4, 64, 64, device="meta") for name, vae in public.items()
        }
        for name, spec in VAES.items():
            decoders = {
                f"pocket {name}": VaeDecoder(spec),
                f"preview of {name}": preview_decoder(spec.latent_channels, spec.factor),
            }
            shape = spec.latent_shape(SIZE_PX)
            found |= {key: counted(one, *shape) for key, one in decoders.items()}
    return found


def ranks(query: Float32Array, made: Float32Array, own: int) -> int:
    """Return the rank of the own candidate by cosine, 0 is the closest."""
    cosines = made @ query
    return int((cosines > cosines[own]).sum())


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train, draw, rank."""
    runtime, clock = Runtime("cpu", threads=1), Clock()
    lineup: Lineup = open_lineup(arguments.lineup)
    spec = lineup.spec
    names = [one.name for one in spec.generators]
    generators = {
        one.name: runtime.open(ImageGenerator, lineup.bundle(str(one.bundle)))
        for one in spec.generators
    }
    captioner = runtime.open(Captioner, lineup.bundle(str(spec.captioner)))
    encoder = runtime.open(ImageEncoder, lineup.bundle(str(spec.encoder)))
    found: dict[str, list[int]] = {"full": [], "preview": []}
    with tempfile.TemporaryDirectory() as work:
        previews: dict[str, Decode] = {}
        for name, generator in generators.items():
            folder = Path(work, name)
            folder.mkdir()
            previews[name] = trained_preview(
                generator,
                folder,
                pictures=arguments.pictures,
                steps=arguments.steps,
                seed=arguments.seed,
            )
            print(f"{name}: trained", flush=True)
        for source in limited_folders(arguments.directory, arguments.limit):
            if source.name not in names:
                continue
            for path in source.paths:
                query = read_image(path).pixels
                with clock.stage("caption"):
                    caption = captioner.captions([query])[0].text
                drawn: dict[str, list[RgbImage]] = {"full": [], "preview": []}
                for name, generator in generators.items():
                    with clock.stage("text encoder and denoiser"):
                        latents = generator.latents(caption, [0])
                    with clock.stage("decoder"):
                        drawn["full"] += generator.images_from_latents(latents)
                    with clock.stage("preview decoder"):
                        drawn["preview"].append(previews[name](latents))
                of_query = encoder.features([query])[0]
                for kind, images in drawn.items():
                    with clock.stage(f"embedding of {len(images)}"):
                        features = encoder.features(images)
                    found[kind].append(ranks(of_query, features, names.index(source.name)))
    count = len(found["full"])
    shares = {
        kind: [round(100 * sum(rank < top for rank in all_ranks) / count, 1) for top in (1, 2, 3)]
        for kind, all_ranks in found.items()
    }
    return {
        "queries": count,
        "own_among_first_1_2_3_percent": shares,
        "ms": clock.medians(),
        "giga_multiply_adds": multiply_adds(),
    }


def main() -> None:
    """Measure and print what came out."""
    parser = parser_of(__doc__)
    parser.add_argument("directory", metavar="SET", type=Path)
    parser.add_argument("--lineup", default="pocket")
    parser.add_argument("--pictures", type=int, default=64, help="to learn from, per decoder")
    parser.add_argument("--steps", type=int, default=150, help="of training, per decoder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=12, help="images per source")
    arguments = parser.parse_args()
    results = measure(arguments)
    for kind, shares in results["own_among_first_1_2_3_percent"].items():
        print(f"{kind:8} own candidate among the first 1, 2, 3: {shares} %")
    for stage, ms in results["ms"].items():
        print(f"{stage:26}{ms:8.1f} ms")
    for name, giga in results["giga_multiply_adds"].items():
        print(f"{name:26}{giga:8.2f} x 10^9 multiply-adds")
    settings = settings_of(arguments, "lineup", "pictures", "steps", "seed", "limit")
    finish("previews", settings, results, record=arguments.record)


if __name__ == "__main__":
    main()
