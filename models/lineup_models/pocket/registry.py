"""The trained models of a run's folder, and the files that hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from tokenizers import Tokenizer
from torch import nn

from lineup.errors import UsageError
from lineup_models.pocket.architectures import GENERATORS, VAES, GeneratorSpec
from lineup_models.pocket.captioner import Captioner, CaptionerSpec, TextDecoder, VisionEncoder
from lineup_models.pocket.clip import Clip, ClipSpec, ImageTowerCut
from lineup_models.pocket.generator import Generator
from lineup_models.pocket.text import SPECIAL_TOKENS, tokenizer_from_vocabulary
from lineup_models.pocket.vae import Vae, VaeSpec
from lineup_models.pocket.world.grammar import VOCABULARY
from lineup_models.training import initialised
from lineup_models.weights_file import WeightsFormat, spec_from_dict

FORMAT = WeightsFormat("pocket", "pocket model", "lineup train pocket --output DIR")

Model = Clip | Captioner | Vae | Generator
Made = TypeVar("Made", bound=Model)

RANDOM_SPECS: Mapping[str, Any] = {
    "clip": ClipSpec(),
    "captioner": CaptionerSpec(),
    **{f"vae-{name}": spec for name, spec in VAES.items()},
    **GENERATORS,
}

CLIP = "pocket-clip"
CAPTIONER = "pocket-captioner"
TOKENIZER_NAME = "tokenizer.json"
PREDICTION_TYPE = "sample"
"""What the generators' denoisers predict, as diffusers names it."""

COMPONENTS = {
    CLIP: ("image_tower", "image_tower_cut"),
    CAPTIONER: ("vision_encoder", "text_decoder"),
    **dict.fromkeys(GENERATORS, ("text_encoder", "unet", "vae_encoder", "vae_decoder")),
}
"""Graphs of each bundle, by the names that its manifest has for them."""


def words() -> int:
    """Return the entries of the pocket vocabulary, special tokens counted."""
    return len(SPECIAL_TOKENS) + len(VOCABULARY)


def weights_path(folder: Path, name: str) -> Path:
    """Return the file of a model, e.g. "clip" or "vae-fern", in the folder of a training."""
    return folder / f"{name}.safetensors"


def write_model(path: Path, model: Model, record: Mapping[str, Any]) -> None:
    """Write a model (fp32), whole or not at all; `record` tells how it came about, in JSON."""
    header = {
        "kind": _kind(model),
        "spec": asdict(model.spec),
        "words": 0 if isinstance(model, Vae) else words(),
        "record": dict(record),
    }
    tensors = {
        name: value.detach().cpu().float().contiguous() if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }
    FORMAT.write(path, header, tensors)


def _kind(model: Model) -> str:
    return type(model).__name__.lower()


def record_of_model(folder: Path | None, name: str) -> dict[str, Any]:
    """Return how a model was trained; nothing for random weights."""
    if folder is None:
        return {}
    with FORMAT.reading(weights_path(folder, name)) as (header, _):
        return dict(header["record"])


def load_tokenizer(folder: Path | None) -> Tokenizer:
    """Return the tokenizer of all pocket models."""
    if folder is None:
        return tokenizer_from_vocabulary(VOCABULARY)
    return Tokenizer.from_file(str(folder / TOKENIZER_NAME))


def load_component(folder: Path | None, bundle: str, component: str) -> nn.Module:
    """Return one graph of a bundle, frozen and in evaluation mode.

    Args:
        folder: Output of `lineup train pocket`; None for random weights, the same every time.
        bundle: One of `COMPONENTS`.
        component: One of those listed there.

    Raises:
        UsageError: There is no such bundle or component.
        BundleNotFoundError: The folder has no weights of it.
        BundleFormatError: They are damaged.
    """
    if component not in COMPONENTS.get(bundle, ()):
        known = "; ".join(f"{name}: {', '.join(parts)}" for name, parts in COMPONENTS.items())
        raise UsageError(
            f"The pocket lineup has no component {component!r} of {bundle!r}.",
            hint=f"There are {known}.",
        )
    found: nn.Module
    if bundle == CLIP:
        tower = load_clip(folder).image_tower
        found = tower if component == "image_tower" else ImageTowerCut(tower)
    elif bundle == CAPTIONER:
        view = VisionEncoder if component == "vision_encoder" else TextDecoder
        found = view(load_captioner(folder))
    else:
        generator = load_generator(folder, bundle)
        whole = load_vae(folder, generator.spec.vae) if component.startswith("vae_") else generator
        found = whole.get_submodule(component.removeprefix("vae_"))
    return found.eval().requires_grad_(False)


def load_clip(folder: Path | None) -> Clip:
    """Return the pocket CLIP; see `load_component`."""
    return _loaded(folder, "clip", ClipSpec, Clip)


def load_captioner(folder: Path | None) -> Captioner:
    """Return the pocket captioner; see `load_component`."""
    return _loaded(folder, "captioner", CaptionerSpec, Captioner)


def load_vae(folder: Path | None, name: str) -> Vae:
    """Return an autoencoder by its own name, e.g. "fern"; see `load_component`."""
    return _loaded(folder, f"vae-{name}", VaeSpec, lambda spec, _: Vae(spec))


def load_generator(folder: Path | None, name: str) -> Generator:
    """Return denoiser and text encoder of a generator; see `load_component`."""
    generator = _loaded(folder, name, GeneratorSpec, Generator)
    if folder is None and generator.spec.text is None:
        # Siblings share it.
        shared = initialised(lambda: Generator(generator.spec, words()), 0, "teacher")
        generator.text_encoder.load_state_dict(shared.text_encoder.state_dict())
    return generator


def _loaded(
    folder: Path | None, name: str, spec_of: type[Any], make: Callable[[Any, int], Made]
) -> Made:
    """Return a trained model; without a folder one whose weights depend on its name alone."""
    if folder is None:
        model = initialised(lambda: make(RANDOM_SPECS[name], words()), 0, name)
    else:
        with FORMAT.reading(weights_path(folder, name)) as (header, tensors):
            spec, count = spec_from_dict(spec_of, header["spec"]), header["words"]
            model = initialised(lambda: make(spec, count), 0, name)
            if header["kind"] != _kind(model):
                raise ValueError(f"a {header['kind']}, expected a {_kind(model)}")
            model.load_state_dict(tensors)
    model.eval().requires_grad_(False)
    return model
