"""Models of random weights for benchmarks, twice: as bundles, and as folders for the peers.

A bundle that `lineup export --weights random` wrote names recipe and seed in its manifest; the
same modules, built again from them, are saved by `save_pretrained` for PyTorch. What is there
already is used again. Each model is made in a process of its own, which gives its memory back.

    python benchmarks/_models.py peer BUNDLE FOLDER      the PyTorch folder of a bundle
    python benchmarks/_models.py optimum FOLDER FOLDER   optimum's export of a PyTorch folder
    python benchmarks/_models.py openvino FOLDER FOLDER  optimum-intel's
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineup.errors import LineupError

WORK_DIR = Path("build/benchmarks")
CAPTIONER, ENCODER = "blip-base", "clip-vit-l-14-336"
GENERATORS = ("sd-turbo", "sd-turbo-b", "sd-turbo-c")
"""Of one architecture; the second and third have seeds of their own."""

COMPRESSED = "sd-turbo-int8"
"""The first one with its weights in eight bits."""

PROGRAM = (sys.executable, "-m", "lineup")

RANDOM_ID = re.compile(r"random:(\d+)")
REVISION = re.compile(r"architecture of (tiny )?([a-z0-9-]+)")


@dataclass(frozen=True, slots=True)
class Models:
    """Where the models of a run are; missing ones are made when asked for.

    Attributes:
        bundles: Folder of bundles.
        work: Folder for what the peers need.
        is_tiny: Whether bundles that are missing are made tiny, to try a benchmark out.
        as_exported: Whether the engine runs graphs as they were exported, not those that
            `lineup build --backend onnxruntime` made of them.
        precision: Of bundles that are missing.
    """

    bundles: Path
    work: Path
    is_tiny: bool
    as_exported: bool = False
    precision: str = "fp32"

    @property
    def optimised(self) -> Path:
        """The folder of graphs that were optimised for this CPU."""
        return Path(os.environ["LINEUP_HOME"]) / "graphs"

    def optimise(self, names: Iterable[str], backends: Iterable[str] = ("onnxruntime",)) -> None:
        """Optimise graphs for this CPU, once and before anything is timed, as a user would.

        Every process that is started from here on has its LINEUP_HOME below `work`.
        """
        home = self.work.resolve() / ("home-as-exported" if self.as_exported else "home")
        os.environ["LINEUP_HOME"] = str(home)
        for name in () if self.as_exported else names:
            for backend in backends:
                build = [*PROGRAM, "build", str(self.bundle(name)), "--backend", backend]
                subprocess.run(build, check=True, stdout=sys.stderr)

    def bundle(self, name: str) -> Path:
        """Return a bundle of random weights, exporting it if it is missing."""
        path = self.bundles / name
        if not (path / "manifest.json").exists():
            kind = {CAPTIONER: "captioner", ENCODER: "encoder"}.get(name, "generator")
            model = [name]
            if name in GENERATORS:
                seed = str(GENERATORS.index(name))
                model = [GENERATORS[0], "--accept-licence", "--seed", seed]
            elif name == COMPRESSED:
                model = [GENERATORS[0], "--accept-licence", "--precision", "int8"]
            options = ["--weights", "random", "--name", name, *["--tiny"] * self.is_tiny]
            options += ["--precision", self.precision]
            _run([*PROGRAM, "export", kind, *model, *options, "--output"], path)
        return path.resolve()

    def peer(self, name: str) -> Path:
        """Return the folder from which PyTorch loads the same weights."""
        return self._converted("peers", "peer", name, self.bundle)

    def exported(self, kind: str, name: str) -> Path:
        """Return what "optimum", or its sibling for "openvino", exported from the same weights."""
        return self._converted(kind, kind, name, self.peer)

    def _converted(self, folder: str, kind: str, name: str, source: Callable[[str], Path]) -> Path:
        path = self.work / folder / name
        if not path.exists():
            _run([sys.executable, __file__, kind, str(source(name))], path)
        return path.resolve()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every benchmark with models asks."""
    parser.add_argument("--bundles", type=Path, help="folder of bundles; default: made in --work")
    parser.add_argument("--work", type=Path, help=f"default: {WORK_DIR}")
    parser.add_argument("--tiny", action="store_true", help="tiny models, to try it out")
    parser.add_argument(
        "--as-exported", action="store_true", help="no graphs optimised for this CPU"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="0 takes every core")


def models_from_arguments(arguments: argparse.Namespace) -> Models:
    """Return the models that were asked for."""
    work = arguments.work or WORK_DIR / ("tiny" if arguments.tiny else "full")
    bundles = arguments.bundles or work / "bundles"
    return Models(bundles, work, arguments.tiny, arguments.as_exported)


def settings_of_models(models: Models, names: list[str]) -> dict[str, str]:
    """Return what every model is, for the record: random weights, recipe, seed."""
    described = {}
    for name in names:
        source = manifest_of(models.bundle(name))["source"]
        described[name] = f"{source['revision']}, {source['id']}"
    return described


def _run(command: list[str], target: Path) -> None:
    """Make a folder by a child process that takes it as its last argument; all of it or nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = target.with_name(f".{target.name}.part")
    shutil.rmtree(staged, ignore_errors=True)
    print(f"making {target}", file=sys.stderr, flush=True)
    done = subprocess.run([*command, str(staged)], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        shutil.rmtree(staged, ignore_errors=True)
        sys.exit(f"Error: {target} could not be made:\n{done.stderr[-2000:]}")
    staged.rename(target)


def manifest_of(bundle: Path) -> dict[str, Any]:
    """Return a bundle's manifest as it is written."""
    manifest: dict[str, Any] = json.loads((bundle / "manifest.json").read_text("utf-8"))
    return manifest


def _source_from_bundle(bundle: Path) -> Any:
    """Return where the bundle's weights came from.

    Raises:
        LineupError: They are not random ones of a recipe.
    """
    from lineup_export.public.source import RandomSource  # noqa: PLC0415 - loads torch
    from lineup_models.recipes.read import open_recipe  # noqa: PLC0415

    said = manifest_of(bundle)["source"]
    seed, what = RANDOM_ID.fullmatch(said["id"]), REVISION.fullmatch(said["revision"])
    if seed is None or what is None:
        raise LineupError(f"{bundle} has weights of {said['id']}, expected random ones.")
    return RandomSource(open_recipe(what[2]), int(seed[1]), is_tiny=what[1] is not None)


def save_peer(bundle: Path, folder: Path) -> None:
    """Save the weights of a bundle for transformers or diffusers, in single precision."""
    source = _source_from_bundle(bundle)
    if source.recipe.generation is not None:
        _save_pipeline(source, folder)
    else:
        _save_whole(source, folder)


def _save_pipeline(source: Any, folder: Path) -> None:
    import diffusers  # noqa: PLC0415 - heavy
    import torch  # noqa: PLC0415
    from tokenizers import Tokenizer  # noqa: PLC0415
    from transformers import CLIPTokenizerFast  # noqa: PLC0415

    parts = {part: source.module(part, torch.float32) for part in ("text_encoder", "unet", "vae")}
    constants = {key: value for key, value in source.recipe.scheduler.items() if key != "type"}
    pad_id = source.recipe.component("text_encoder").pad_token_id
    words = Tokenizer.from_str(source.tokenizer("text_encoder"))
    diffusers.StableDiffusionPipeline(
        **parts,
        tokenizer=CLIPTokenizerFast(
            tokenizer_object=words, pad_token=words.id_to_token(pad_id), model_max_length=77
        ),
        scheduler=diffusers.EulerDiscreteScheduler(**constants),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


def _save_whole(source: Any, folder: Path) -> None:
    import torch  # noqa: PLC0415 - heavy
    import transformers  # noqa: PLC0415
    from tokenizers import Tokenizer  # noqa: PLC0415

    config, given = source.config("model"), source.recipe.preprocess
    side = config.get("vision_config", config)["image_size"]
    square = {"height": side, "width": side}
    fields = {"image_mean": list(given.mean), "image_std": list(given.std), "resample": 3}
    source.module("model", torch.float32).save_pretrained(folder)
    if source.recipe.captioner is None:
        fields |= {"size": {"shortest_edge": side}, "crop_size": square}
        processor = transformers.CLIPImageProcessor(**fields)
    else:
        words = Tokenizer.from_str(source.tokenizer("model"))
        processor = transformers.BlipProcessor(
            transformers.BlipImageProcessor(size=square, **fields),
            transformers.BertTokenizerFast(tokenizer_object=words),
        )
    processor.save_pretrained(folder)


def save_optimum(peer: Path, folder: Path) -> None:
    """Let optimum export a pipeline the way its documentation says."""
    from optimum.onnxruntime import ORTStableDiffusionPipeline  # noqa: PLC0415 - heavy

    # A path that is no string is taken for a model.
    pipeline = ORTStableDiffusionPipeline.from_pretrained(str(peer), export=True)
    pipeline.save_pretrained(folder)


def save_openvino(peer: Path, folder: Path) -> None:
    """Let optimum-intel export a pipeline for OpenVINO, its weights as they are."""
    from optimum.intel import OVStableDiffusionPipeline  # noqa: PLC0415 - heavy

    pipeline = OVStableDiffusionPipeline.from_pretrained(
        str(peer), export=True, compile=False, load_in_8bit=False
    )
    pipeline.save_pretrained(folder)


def main() -> None:
    """Make one folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["peer", "optimum", "openvino"])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    makers = {"peer": save_peer, "optimum": save_optimum, "openvino": save_openvino}
    make = makers[arguments.kind]
    try:
        make(arguments.source, arguments.target)
    except LineupError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
