"""The trained models of a run's folder, and the files that hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tokenizers import Tokenizer
from torch import Tensor, nn

from lineup.errors import BundleFormatError, UsageError
from lineup_models.pocket.architectures import (
    GENERATORS,
    SIZE_PX,
    VAES,
    GeneratorSpec,
)
from lineup_models.pocket.captioner import Captioner, CaptionerSpec, TextDecoder, VisionEncoder
from lineup_models.pocket.clip import Clip, ClipSpec, ImageTowerCut
from lineup_models.pocket.generator import Generator
from lineup_models.pocket.text import SPECIAL_TOKENS, tokenizer_from_vocabulary
from lineup_models.pocket.vae import Vae, VaeSpec
from lineup_models.pocket.world import VOCABULARY
from lineup_models.training import initialised
from lineup_models.weights_file import WeightsFormat, spec_from_dict

FORMAT = WeightsFormat("pocket", "pocket model", "lineup train pocket --output DIR")


@dataclass(frozen=True, slots=True)
class StoredModel:
    """What a file of weights holds.

    Attributes:
        kind: What the model is, e.g. "vae" or "generator".
        spec: The architecture as plain JSON values.
        words: Entries of the vocabulary; 0 for a model without text.
        tensors: The weights by name.
        record: Options, seed, tools, seconds, final losses (plain JSON values).
        path: The file, to name in errors.
    """

    kind: str
    spec: Mapping[str, Any]
    words: int
    tensors: Mapping[str, Tensor]
    record: Mapping[str, Any] = field(default_factory=dict)
    path: Path = Path()

    def into(self, module: nn.Module) -> None:
        """Load the weights into `module` and freeze it.

        Raises:
            BundleFormatError: They are those of another architecture.
        """
        try:
            module.load_state_dict(dict(self.tensors))
        except RuntimeError as error:
            raise BundleFormatError(
                f"{self.path} holds weights of another architecture ({error}).",
                hint="Train the model again: lineup train pocket",
            ) from error
        module.eval().requires_grad_(False)


def write_model(
    path: Path,
    kind: str,
    spec: Any,
    module: nn.Module,
    *,
    words: int = 0,
    record: Mapping[str, Any] | None = None,
) -> None:
    """Write a model (fp32), whole or not at all.

    Args:
        path: The file.
        kind: What the model is; asked for again when it is read.
        spec: Its architecture, a dataclass.
        module: Its weights.
        words: Entries of the vocabulary.
        record: How it came about, plain JSON values.
    """
    header = {
        "kind": kind,
        "spec": asdict(spec),
        "words": words,
        "record": dict(record or {}),
    }
    tensors = {
        name: value.detach().cpu().float().contiguous() if value.is_floating_point() else value
        for name, value in module.state_dict().items()
    }
    FORMAT.write(path, header, tensors)


def read_model(path: Path, kind: str) -> StoredModel:
    """Read what `write_model` wrote.

    Raises:
        BundleNotFoundError: There is no such file.
        BundleFormatError: It holds something else.
    """
    with FORMAT.reading(path) as (header, tensors):
        if header["kind"] != kind:
            raise ValueError(f"a {header['kind']}, expected a {kind}")
        return StoredModel(kind, header["spec"], header["words"], tensors, header["record"], path)


Made = TypeVar("Made", bound=nn.Module)

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


@dataclass(frozen=True, slots=True)
class GeneratorFacts:
    """What a generator's manifest says about its latents.

    Attributes:
        vae: Name of the autoencoder, which siblings share.
        latent_channels: Channels of a latent.
        latent_factor: Pixels per latent cell and side.
        latent_scaling: The denoiser sees `(latent - latent_shift) * latent_scaling`.
        latent_shift: See `latent_scaling`.
        text_dimension: Of a token's state.
        size_px: Side of the pictures.
        record: How the generator was trained; empty for random weights.
    """

    vae: str
    latent_channels: int
    latent_factor: int
    latent_scaling: float
    latent_shift: float
    text_dimension: int
    size_px: int
    record: Mapping[str, Any]


def words() -> int:
    """Return the entries of the pocket vocabulary, special tokens counted."""
    return len(SPECIAL_TOKENS) + len(VOCABULARY)


def weights_path(folder: Path, name: str) -> Path:
    """Return the file of a model in the folder of a training; `name` as in `bundle_weights`."""
    return folder / f"{name}.safetensors"


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
    elif component in ("vae_encoder", "vae_decoder"):
        vae = load_vae(folder, generator_spec(folder, bundle).vae)
        found = vae.encoder if component == "vae_encoder" else vae.decoder
    else:
        generator = load_generator(folder, bundle)
        found = generator.unet if component == "unet" else generator.text_encoder
    return found.eval().requires_grad_(False)


def load_clip(folder: Path | None) -> Clip:
    """Return the pocket CLIP; see `load_component`."""
    if folder is None:
        return _random("clip", lambda: Clip(ClipSpec(), words()))
    stored = read_model(weights_path(folder, "clip"), "clip")
    return _loaded(stored, lambda: Clip(spec_from_dict(ClipSpec, stored.spec), stored.words))


def load_captioner(folder: Path | None) -> Captioner:
    """Return the pocket captioner; see `load_component`."""
    if folder is None:
        return _random("captioner", lambda: Captioner(CaptionerSpec(), words()))
    stored = read_model(weights_path(folder, "captioner"), "captioner")
    spec = spec_from_dict(CaptionerSpec, stored.spec)
    return _loaded(stored, lambda: Captioner(spec, stored.words))


def load_vae(folder: Path | None, name: str) -> Vae:
    """Return an autoencoder by its own name, e.g. "fern"; see `load_component`."""
    if folder is None:
        return _random(f"vae-{name}", lambda: Vae(VAES[name]))
    stored = read_model(weights_path(folder, f"vae-{name}"), "vae")
    return _loaded(stored, lambda: Vae(spec_from_dict(VaeSpec, stored.spec)))


def load_generator(folder: Path | None, name: str) -> Generator:
    """Return denoiser and text encoder of a generator; see `load_component`."""
    if folder is None:
        spec = GENERATORS[name]
        generator = _random(name, lambda: Generator(spec, words()))
        if spec.text is None:
            # Siblings share it.
            shared = _random("teacher", lambda: Generator(spec, words()))
            generator.text_encoder.load_state_dict(shared.text_encoder.state_dict())
        return generator
    stored = read_model(weights_path(folder, name), "generator")
    trained = spec_from_dict(GeneratorSpec, stored.spec)
    return _loaded(stored, lambda: Generator(trained, stored.words))


def generator_spec(folder: Path | None, name: str) -> GeneratorSpec:
    """Return the architecture of a generator."""
    if folder is None:
        return GENERATORS[name]
    return spec_from_dict(GeneratorSpec, read_model(weights_path(folder, name), "generator").spec)


def generator_facts(folder: Path | None, name: str) -> GeneratorFacts:
    """Return what a generator's manifest says about its latents; see `load_component`."""
    spec = generator_spec(folder, name)
    vae = load_vae(folder, spec.vae)
    record = {} if folder is None else read_model(weights_path(folder, name), "generator").record
    return GeneratorFacts(
        vae=spec.vae,
        latent_channels=vae.spec.latent_channels,
        latent_factor=vae.spec.factor,
        latent_scaling=float(vae.latent_scaling),
        latent_shift=float(vae.latent_shift),
        text_dimension=spec.unet.text_dimension,
        size_px=SIZE_PX,
        record=record,
    )


def _random(name: str, make: Callable[[], Made]) -> Made:
    """Return a module whose weights depend on its name alone."""
    module = initialised(make, 0, name)
    module.eval().requires_grad_(False)
    return module


def _loaded(stored: StoredModel, make: Callable[[], Made]) -> Made:
    """Return a module with the stored weights."""
    module = initialised(make, 0, stored.kind)
    stored.into(module)
    return module
