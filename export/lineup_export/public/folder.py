"""Folders of diffusers and transformers, local ones or snapshots of the hub; safetensors only.

The hub is reached through its client's own cache, token and offline mode.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lineup.bundles.manifest import Origin, Precision, Source
from lineup.errors import UsageError
from lineup.files import sha256_from_file
from lineup_export.public.source import RandomSource, class_from_name
from lineup_export.public.tokenizer_files import tokenizer_from_folder
from lineup_models.recipes.recipe import Recipe

INDEX_NAME = "model_index.json"
CONFIG_NAME = "config.json"
WHOLE = "model"
"""The only part of a transformers folder."""

_SAVED = "Expected a folder that `save_pretrained` of diffusers or transformers wrote."
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
_CLASSES = {
    "blip": "transformers.BlipForConditionalGeneration",
    "clip": "transformers.CLIPVisionModelWithProjection",
    "clip_vision_model": "transformers.CLIPVisionModelWithProjection",
    "vision-encoder-decoder": "transformers.VisionEncoderDecoderModel",
}


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A folder that `save_pretrained` wrote, or a snapshot of a hub repository.

    Attributes:
        folder: Holds model_index.json (diffusers) or config.json (transformers).
        origin: What the manifest says about where the weights come from.
        variant: "fp16" to read the files with that word in their name.
    """

    folder: Path
    origin: Source
    variant: str | None = None

    def has(self, part: str) -> bool:
        """Return whether the model has such a component."""
        if part == WHOLE:
            return (self.folder / CONFIG_NAME).is_file()
        entry = self.index().get(part)
        return isinstance(entry, list) and len(entry) == 2 and None not in entry

    def parts(self) -> list[str]:
        """Return the components of a generator that are exported."""
        wanted = ("text_encoder", "text_encoder_2", "unet", "vae")
        return [part for part in wanted if self.has(part)]

    def index(self) -> dict[str, Any]:
        """Return the content of model_index.json; empty when there is none."""
        path = self.folder / INDEX_NAME
        return json_from_file(path) if path.is_file() else {}

    def config(self, part: str) -> Mapping[str, Any]:
        """Return the configuration of a component.

        Raises:
            UsageError: The folder has no such component.
        """
        path = self._folder(part) / CONFIG_NAME
        if not path.is_file():
            missing = path.relative_to(self.folder)
            raise UsageError(f"{self.folder} has no {missing}.", hint=_SAVED)
        name = self.class_name(part)
        if name.startswith("diffusers."):
            return json_from_file(path)
        # The file leaves out what is the default of its class.
        full: dict[str, Any] = class_from_name(name).config_class.from_pretrained(path).to_dict()
        return full

    def class_name(self, part: str) -> str:
        """Return library and class of a component.

        Raises:
            UsageError: The class is none that can be exported.
        """
        if part != WHOLE:
            library, name = self.index()[part]
            return f"{library}.{name}"
        kind = json_from_file(self.folder / CONFIG_NAME).get("model_type")
        if kind not in _CLASSES:
            raise UsageError(
                f"{self.folder} holds a model of type {kind!r}, which cannot be exported.",
                hint=f"These can: {', '.join(_CLASSES)}.",
            )
        return _CLASSES[kind]

    def module(self, part: str, dtype: torch.dtype) -> nn.Module:
        """Read a component.

        Raises:
            UsageError: It holds pickled weights only, or weights of something else.
        """
        folder = self._folder(part)
        _check_safetensors(folder)
        named = {"variant": self.variant} if self.variant else {}
        try:
            module: nn.Module = class_from_name(self.class_name(part)).from_pretrained(
                folder, use_safetensors=True, local_files_only=True, torch_dtype=dtype, **named
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise UsageError(
                f"{folder} cannot be loaded as {self.class_name(part)}: {error}",
                hint="Expected a folder that `save_pretrained` wrote.",
            ) from error
        return module.eval()

    def tokenizer(self, part: str) -> str:
        """Return the tokenizer of a component, the content of a tokenizer.json."""
        return tokenizer_from_folder(self._folder(part.replace("text_encoder", "tokenizer")))

    def _folder(self, part: str) -> Path:
        return self.folder if part == WHOLE else self.folder / part


ModelSource = RandomSource | FolderSource
"""Gives the components of one model, one at a time."""


def _check_safetensors(folder: Path) -> None:
    if any(folder.glob("*.safetensors")):
        return
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        raise UsageError(
            f"{folder} holds pickled weights only ({pickles[0]}), which are refused: "
            "reading them would run code that they carry.",
            hint="Convert them on a machine that may run that code: "
            "model.save_pretrained(DIR, safe_serialization=True)",
        )
    raise UsageError(f"{folder} holds no *.safetensors.")


def local_origin(folder: Path) -> Source:
    """Return what a manifest says about a local folder: its name, pinned by the hash of its index.

    Raises:
        UsageError: The folder is neither of diffusers nor of transformers.
    """
    for name in (INDEX_NAME, CONFIG_NAME):
        path = folder / name
        if path.is_file():
            # The name is enough to recognise it; a path would tell about the machine.
            return Source(Origin.HUB, folder.resolve().name, f"sha256:{sha256_from_file(path)}")
    raise UsageError(
        f"{folder} holds neither {INDEX_NAME} nor {CONFIG_NAME}.",
        hint=_SAVED,
    )


def json_from_file(path: Path) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        UsageError: The file holds none.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from error
    if not isinstance(value, dict):
        raise UsageError(f"{path} holds a {type(value).__name__}, expected a JSON object.")
    return value


_TEXTS = ("*.json", "*.txt", "*/*.json", "*/*.txt")
_HALF, _WHOLE = "fp16.safetensors", "safetensors"


def snapshot(hub_id: str, revision: str, patterns: Iterable[str]) -> Path:
    """Download the files of a repository that fit patterns, or find them in the cache.

    HF_TOKEN, HF_HOME and HF_HUB_OFFLINE are honoured; an interrupted download is resumed.

    Raises:
        UsageError: There is no such repository or revision, or no way to it.
    """
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - slow
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415

    try:
        folder = snapshot_download(
            hub_id,
            revision=revision,
            allow_patterns=list(patterns),
            ignore_patterns=["*non_ema*", "*openvino*", "*flax*"],
        )
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(
            f"{hub_id} at {revision} cannot be had from the hub: {reason}",
            hint="A gated repository needs HF_TOKEN and its conditions accepted on its page. "
            "Without a hub: --weights random, or a local folder instead of the name.",
        ) from error
    return Path(folder)


def source_from_hub(
    hub_id: str, revision: str, parts: Sequence[str], precision: Precision
) -> FolderSource:
    """Return a repository's model, of which the folders of `parts` alone are fetched.

    Half-precision exports read half-precision files where every part has them.
    """
    half = [_weights(part, _HALF) for part in parts]
    if precision is Precision.FP16:
        folder = snapshot(hub_id, revision, [*_TEXTS, *half])
        if all(any(folder.glob(pattern)) for pattern in half):
            return FolderSource(folder, Source(Origin.HUB, hub_id, folder.name), "fp16")
    weights = [_weights(part, f"model.{_WHOLE}") for part in parts]
    shards = [_weights(part, f"*-of-*.{_WHOLE}") for part in parts]
    folder = snapshot(hub_id, revision, [*_TEXTS, *weights, *shards])
    return FolderSource(folder, Source(Origin.HUB, hub_id, folder.name))


def _weights(part: str, ending: str) -> str:
    """Return the pattern of a part's weights: model.… of transformers, …_model.… of diffusers."""
    return f"*{ending}" if part == WHOLE else f"{part}/*{ending}"


def check_licence(recipe: Recipe, *, accepted: bool) -> None:
    """Check that the user has accepted a licence with conditions.

    Raises:
        UsageError: They have not.
    """
    if recipe.accept_licence and not accepted:
        raise UsageError(
            f"The weights of {recipe.title} are under {recipe.licence}, which has conditions.",
            hint=f"Read them at https://huggingface.co/{recipe.hub_id} and pass --accept-licence.",
        )
