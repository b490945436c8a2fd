"""Low-rank weights (2106.09685), added to a module's own when it is exported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lineup.errors import UsageError

_DOWN = (".lora_down.weight", ".lora_A.weight", ".lora.down.weight")
_UP = (".lora_up.weight", ".lora_B.weight", ".lora.up.weight")
_PREFIXES = ("lora_unet_", "unet.", "base_model.model.")


def fuse_lora(module: nn.Module, path: Path) -> int:
    """Add low-rank weights to the layers that they name; return how many were changed.

    `path` is a safetensors file with names as kohya-ss, diffusers or PEFT write them.

    Raises:
        UsageError: The file cannot be read, or names a layer that the module lacks.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path} cannot be read as safetensors: {error}.") from error
    layers = {name.replace(".", "_"): layer for name, layer in module.named_modules()}
    pairs = _pairs(tensors)
    for name, (down, up, alpha) in pairs.items():
        layer = layers.get(_bare(name))
        weight = getattr(layer, "weight", None)
        if not isinstance(weight, Tensor):
            raise UsageError(
                f"{path.name} changes {name!r}, which the component does not have.",
                hint="The low-rank weights are those of another architecture.",
            )
        scale = 1.0 if alpha is None else float(alpha) / down.shape[0]
        change = up.float().flatten(1) @ down.float().flatten(1)
        weight.data += (scale * change).reshape(weight.shape).to(weight.dtype)
    return len(pairs)


def _pairs(tensors: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor, Tensor | None]]:
    """Return down, up and alpha per layer."""
    pairs = {}
    used: set[str] = set()
    for key, down in tensors.items():
        for down_end, up_end in zip(_DOWN, _UP, strict=True):
            name = key.removesuffix(down_end)
            if name != key and name + up_end in tensors:
                pairs[name] = down, tensors[name + up_end], tensors.get(f"{name}.alpha")
                used |= {key, name + up_end, f"{name}.alpha"}
    strangers = sorted(set(tensors) - used)
    if strangers or not pairs:
        found = strangers[0] if strangers else "nothing"
        raise UsageError(
            f"Low-rank weights come in pairs of down and up; found {found!r} beside them.",
            hint="Expected a LoRA file as kohya-ss, diffusers or PEFT write it.",
        )
    return pairs


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name.replace(".", "_")
