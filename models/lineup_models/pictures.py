"""What people look at after a training: a plot of the losses, sheets of pictures."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from lineup.files import write_atomic
from lineup.types import RgbImage, RgbTiles

PLOT_NAME = "losses.png"
SMOOTHED_STEPS = 20


def losses_of_run(output: Path) -> dict[str, dict[str, list[float]]]:
    """Return the losses of every stage that a run's folder has: stage, name, one per step."""
    found: dict[str, dict[str, list[float]]] = {}
    for path in sorted(output.glob("*.losses.json")) + sorted(output.glob("*/*.losses.json")):
        rows = json.loads(path.read_text())
        found[path.name.split(".")[0]] = {name: [row[name] for row in rows] for name in rows[0]}
    return found


def write_loss_plot(output: Path) -> Path | None:
    """Draw the losses of a run's folder into `losses.png`, one panel per stage.

    Returns:
        The file; None where matplotlib is not installed or there is nothing to draw.
    """
    stages = losses_of_run(output)
    if not stages or find_spec("matplotlib") is None:
        return None
    target = output / PLOT_NAME
    write_atomic(target, _png(stages))
    return target


def _png(stages: Mapping[str, Mapping[str, Sequence[float]]]) -> bytes:
    from matplotlib.figure import Figure  # noqa: PLC0415 - may be missing

    # Figure without pyplot: no window system, no global state.
    figure = Figure(figsize=(5 * len(stages), 4), layout="constrained")
    for axes, (stage, losses) in zip(
        np.atleast_1d(figure.subplots(1, len(stages))), stages.items(), strict=True
    ):
        for name, values in losses.items():
            axes.plot(_smoothed(values), label=name)
        axes.set(title=stage, xlabel="step", ylabel=f"mean of {SMOOTHED_STEPS} steps")
        axes.legend()
        axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def _smoothed(values: Sequence[float]) -> list[float]:
    window = min(SMOOTHED_STEPS, len(values))
    kernel = np.full(window, 1.0 / window)
    smoothed: list[float] = np.convolve(values, kernel, mode="valid").tolist()
    return smoothed


GAP_PX = 4


def write_sheet(path: Path, rows: Sequence[RgbTiles]) -> None:
    """Write rows of images, each uint8 (N, H, W, 3), on a white ground as one PNG."""
    gap = ((GAP_PX, 0), (GAP_PX, 0), (0, 0))
    lines = [
        np.concatenate([np.pad(image, gap, constant_values=255) for image in row], axis=1)
        for row in rows
    ]
    write_png(path, np.concatenate(lines))


def write_png(path: Path, pixels: RgbImage) -> None:
    """Write `pixels` as PNG."""
    _, encoded = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    write_atomic(path, encoded.tobytes())
