"""Writing images into a folder, with a file beside them that says how they were made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lineup._version import __version__
from lineup.errors import UsageError
from lineup.files import sha256_from_bytes, write_atomic
from lineup.models.generator import ImageGenerator
from lineup.models.options import SynthesisOptions
from lineup.types import RgbImage

RECORD_NAME = "synthesis.json"
"""Beside the images: prompt, seeds, options, identity of the generator, costs."""


def image_name(candidate: str, seed: int) -> str:
    """Return the file name of an image."""
    return f"{candidate}-{seed}.png"


def check_free(folder: Path, names: Iterable[str]) -> None:
    """Check that files can be written without replacing any.

    Raises:
        UsageError: One exists; names it.
    """
    taken = next((name for name in (RECORD_NAME, *names) if (folder / name).exists()), None)
    if taken is not None:
        raise UsageError(
            f"{folder / taken} exists already.",
            hint="Choose another folder, or pass --overwrite.",
        )


def write_image(pixels: RgbImage, path: Path) -> str:
    """Write a PNG in one step and return the hex SHA-256 of the file.

    Raises:
        UsageError: The file cannot be written.
    """
    data = cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
    _write(path, data)
    return sha256_from_bytes(data)


def write_record(
    folder: Path,
    generator: ImageGenerator,
    prompt: str,
    options: SynthesisOptions,
    images: Sequence[dict[str, Any]],
) -> None:
    """Write what was made and how.

    Args:
        folder: Of the images.
        generator: What made them.
        prompt: The text.
        options: As they were asked for.
        images: Per image its seed, file name and SHA-256.

    Raises:
        UsageError: The file cannot be written.
    """
    info = generator.info
    record = {
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
        "ms": {stage: round(value, 3) for stage, value in generator.clock.ms.items()},
        "calls": dict(generator.clock.calls),
        "lineup": __version__,
    }
    _write(folder / RECORD_NAME, (json.dumps(record, indent=2) + "\n").encode("ascii"))


def _write(path: Path, data: bytes) -> None:
    try:
        write_atomic(path, data)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
