"""The folder of a run: its record, and the files in which stages leave tensors."""

from __future__ import annotations

import io
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lineup._version import __version__
from lineup.errors import UsageError
from lineup.files import write_atomic

RECORD_NAME = "training.json"


def claimed_record(output: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of the folder's run; begin one where there is none.

    Args:
        output: Folder of the run.
        settings: Plain JSON values that make two runs the same.

    Raises:
        UsageError: The folder holds a run of other settings.
    """
    settings = json.loads(json.dumps(settings))
    path = output / RECORD_NAME
    if path.exists():
        stored: dict[str, Any] = json.loads(path.read_text())
        if {name: stored.get(name) for name in settings} != settings:
            raise UsageError(
                f"{output} holds a training of other options or photographs.",
                hint="Give the same ones to go on with it, or another --output.",
            )
        return stored
    tools = {
        "lineup": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    record = {**settings, "tools": tools, "seconds": {}, "losses_last_50_steps": {}}
    write_record(output, record)
    return record


def write_record(output: Path, record: Mapping[str, Any]) -> None:
    """Write the record of a run."""
    write_atomic(output / RECORD_NAME, json.dumps(record, indent=1).encode())


def write_tensors(path: Path, tensors: Mapping[str, Any]) -> None:
    """Write tensors by name, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(dict(tensors), buffer)
    write_atomic(path, buffer.getvalue())


def read_tensors(path: Path, stage: str) -> dict[str, Any]:
    """Read what a stage wrote.

    Raises:
        UsageError: The stage has not been gone through.
    """
    check_made(path, stage)
    state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    return state


def check_made(path: Path, stage: str) -> None:
    """Raise when a file that a stage makes is not there.

    Raises:
        UsageError: It is not.
    """
    if not path.is_file():
        raise UsageError(
            f"{path} is not there; stage {stage} makes it.",
            hint=f"Go through stage {stage} first, or leave --stages out to go through all.",
        )
