"""Which exporter turns which component into a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

BLIP, BLIP_TASK = "blip", "image-to-text"


class Exporter(str, Enum):
    """What turns a module into a graph; the value is the word used on the command line."""

    AUTO = "auto"
    TORCH = "torch"
    OPTIMUM = "optimum"


@dataclass(frozen=True, slots=True)
class Family:
    """Where optimum's registry has what it knows of a component."""

    model_type: str
    task: str
    library: str


FAMILIES: Mapping[str, Family] = {
    "text_encoder": Family("clip-text", "feature-extraction", "diffusers"),
    "text_encoder_2": Family("clip-text-with-projection", "feature-extraction", "diffusers"),
    "image_tower": Family("clip_vision_model", "feature-extraction", "transformers"),
    "image_tower_cut": Family("clip_vision_model", "feature-extraction", "transformers"),
    "text_decoder": Family(BLIP, BLIP_TASK, "transformers"),
    "unet": Family("unet-2d-condition", "semantic-segmentation", "diffusers"),
    "vae_decoder": Family("vae-decoder", "semantic-segmentation", "diffusers"),
}
"""Per role; encoders of images fail optimum's validation (axes without a name): torch's alone."""

FASTEST: Mapping[str, Exporter] = dict.fromkeys(FAMILIES, Exporter.TORCH)
"""What `auto` takes, per role that both can export: the guide to exports has the figures."""


def exporter_of(role: str, asked: Exporter) -> Exporter:
    """Return the exporter of a role: the one asked for where it can, else torch's."""
    if role not in FAMILIES:
        return Exporter.TORCH
    return FASTEST[role] if asked is Exporter.AUTO else asked
