"""Figures as PNG files, drawn with matplotlib without a display."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.manifold import TSNE

from lineup.errors import UsageError
from lineup.files import write_atomic
from lineup.types import Float32Array, Float64Array

DOTS_PER_INCH = 150
PANEL_INCHES = 2.6
COLUMNS = 4
MARKERS = "osD^vP*X<>"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6a3d9a", "#8c564b")
"""Okabe and Ito's palette for colour-blind readers, two added; the marker changes after eight."""
PHOTOGRAPHS_GREY = "#8a8a8a"

SHRINKAGE = 0.1
"""How far LDA's within-class covariance is drawn to a multiple of the identity."""

LDA_AXES = 50
"""Principal axes that LDA works in: more of them than images would separate anything."""

PERPLEXITY = 30.0


class Projection(str, Enum):
    """How fingerprints are laid on a plane."""

    PCA = "pca"
    """The two directions of most variance; knows nothing of the sources."""

    LDA = "lda"
    """The two directions that separate the sources best; flatters, for it knows them."""

    TSNE = "tsne"
    """Neighbours stay neighbours, distances mean little; knows nothing of the sources."""


def write_spectra(
    path: Path, spectra: Mapping[str, Float64Array], *, relative: bool, smoothing_px: float
) -> None:
    """Write a grid of mean residual spectra, one panel per source, all on one scale.

    Args:
        path: The PNG file.
        spectra: Shape (size, size) per source, zero frequency in the middle.
        relative: Whether they are differences to photographs, drawn around zero.
        smoothing_px: Standard deviation of a blur that takes the grain away; 0 for none.

    Raises:
        UsageError: The file cannot be written.
    """
    panels = {name: _smoothed(one, smoothing_px) for name, one in spectra.items()}
    rows = -(-len(panels) // COLUMNS)
    columns = -(-len(panels) // rows)  # five panels are three and two, not four and one
    figure = _figure(PANEL_INCHES * columns + 1.0, (PANEL_INCHES + 0.2) * rows + 0.3)
    axes = figure.subplots(rows, columns, squeeze=False)
    style = _scale(list(panels.values()), relative)
    image = None
    for index, axis in enumerate(axes.flat):
        axis.set_visible(index < len(panels))
    for axis, (name, panel) in zip(axes.flat, panels.items(), strict=False):
        image = axis.imshow(panel, extent=(-0.5, 0.5, 0.5, -0.5), interpolation="nearest", **style)
        axis.set_title(name, fontsize=10)
        axis.set_xticks([-0.5, 0, 0.5])
        axis.set_yticks([-0.5, 0, 0.5])
        axis.tick_params(labelsize=7, labelleft=False, labelbottom=False)
    for index, axis in enumerate(axes.flat):
        # Labels where no panel follows on that side.
        axis.tick_params(labelleft=index % columns == 0, labelbottom=index + columns >= len(panels))
    assert image is not None
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02, extend="both")
    bar.set_label("log(1 + |F|)" + (", minus photographs" if relative else ""), fontsize=9)
    bar.ax.tick_params(labelsize=8)
    figure.suptitle("Mean residual spectra", fontsize=12)
    figure.supxlabel("cycles per pixel", fontsize=9)
    figure.supylabel("cycles per pixel", fontsize=9)
    write_figure(path, figure)


def points_from_fingerprints(
    fingerprints: Float32Array, labels: npt.NDArray[np.intp], projection: Projection, *, seed: int
) -> tuple[Float64Array, tuple[str, str]]:
    """Lay fingerprints on a plane.

    Args:
        fingerprints: Shape (N, D), float32, rows L2-normalised.
        labels: Source of each row, shape (N,).
        projection: How.
        seed: Seed of t-SNE.

    Returns:
        Points, shape (N, 2), and what the two axes show.

    Raises:
        UsageError: Too few images or sources for this projection.
    """
    rows = fingerprints.astype(np.float64)
    sources = len(np.unique(labels))
    if len(rows) < 3:
        raise UsageError(f"A map needs at least 3 images, got {len(rows)}.")
    if projection is Projection.LDA and sources < 3:
        raise UsageError(
            f"LDA lays {sources} sources on a line, not on a plane.",
            hint="Choose --projection pca, or add sources.",
        )
    if projection is Projection.TSNE:
        perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
        points = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(rows)
        return np.asarray(points, np.float64), ("t-SNE 1", "t-SNE 2")
    axes = 2 if projection is Projection.PCA else min(LDA_AXES, len(rows) // 2, rows.shape[1])
    pca = PCA(axes, svd_solver="full")
    scores = np.asarray(pca.fit_transform(rows))
    if projection is Projection.LDA:
        lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage=SHRINKAGE, n_components=2)
        scores = np.asarray(lda.fit_transform(scores, labels))
        return scores, ("discriminant 1", "discriminant 2")
    first, second = (f"{100 * share:.1f} % of variance" for share in pca.explained_variance_ratio_)
    return scores, (f"first principal axis ({first})", f"second principal axis ({second})")


def write_map(
    path: Path,
    points: Float64Array,
    sources: Sequence[str],
    *,
    axis_labels: tuple[str, str],
    real: Sequence[str] = (),
) -> None:
    """Write a map of fingerprints, one colour and marker per source.

    Raises:
        UsageError: The file cannot be written.
    """
    figure = _figure(8.6, 6.0)
    axis = figure.subplots()
    names = list(dict.fromkeys(sources))
    generators = [name for name in names if name not in real]
    for name in sorted(names, key=lambda one: one not in real):
        chosen = points[np.array([source == name for source in sources])]
        axis.scatter(
            chosen[:, 0],
            chosen[:, 1],
            label=f"{name} ({len(chosen)})",
            alpha=0.75,
            linewidths=0.4,
            edgecolors="white",
            **_look(generators.index(name) if name in generators else None),
        )
    _dress(axis, "Fingerprints by source", *axis_labels)
    write_figure(path, figure)


def write_sweep(
    path: Path,
    seconds: Sequence[float],
    accuracy: Mapping[str, Sequence[float]],
    *,
    marks: Sequence[str],
    level: str | None,
    chance: float,
) -> None:
    """Write accuracy against seconds per image, one line per evidence.

    Args:
        path: The PNG file.
        seconds: Per image, shape (points,).
        accuracy: In percent, shape (points,), per line; the last is on top, its points marked.
        marks: Text at each point.
        level: The line, not the last, that does not depend on the time: dashed.
        chance: Accuracy of guessing, in percent.

    Raises:
        UsageError: The file cannot be written.
    """
    figure = _figure(8.6, 4.8)
    axis = figure.subplots()
    last = list(accuracy)[-1]
    for index, (label, values) in enumerate(accuracy.items()):
        style: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "label": label}
        if label == level:
            axis.axhline(values[0], linestyle="--", linewidth=1.4, **style)
            continue
        width = 2.2 if label == last else 1.4
        marker = MARKERS[index % len(MARKERS)]
        axis.plot(seconds, values, marker=marker, markersize=6, linewidth=width, **style)
    for point, mark in zip(zip(seconds, accuracy[last], strict=True), marks, strict=True):
        axis.annotate(mark, point, (0, 8), textcoords="offset points", ha="center", fontsize=8)
    if chance > min(map(min, accuracy.values())) - 15:
        axis.axhline(chance, color=PHOTOGRAPHS_GREY, linewidth=1, linestyle="--", label="chance")
    axis.set_xscale("log")
    axis.set_xticks(seconds, [f"{one:.2g}" for one in seconds], minor=False)
    axis.set_xticks([], minor=True)
    axis.margins(x=0.08, y=0.12)
    title = "Accuracy against time, by resyntheses per candidate"
    _dress(axis, title, "seconds per image", "accuracy among the candidates in %")
    write_figure(path, figure)


def _dress(axis: Axes, title: str, x_label: str, y_label: str) -> None:
    axis.set_title(title, fontsize=12)
    axis.set_xlabel(x_label, fontsize=9)
    axis.set_ylabel(y_label, fontsize=9)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="#e6e6e6", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)


def _look(index: int | None) -> dict[str, Any]:
    """Return colour and marker of the generator of this number; None for photographs."""
    if index is None:
        return {"color": PHOTOGRAPHS_GREY, "marker": "o", "s": 12}
    colour = COLOURS[index % len(COLOURS)]
    return {"color": colour, "marker": MARKERS[index // len(COLOURS) % len(MARKERS)], "s": 26}


def _scale(panels: Sequence[Float64Array], relative: bool) -> dict[str, Any]:
    """Return colours and limits; a few peaks may leave the scale, so that the rest can be seen."""
    values = np.stack(panels)
    if relative:
        limit = float(np.quantile(np.abs(values), 0.995)) or 1.0
        return {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    low, high = (float(np.quantile(values, share)) for share in (0.005, 0.995))
    return {"cmap": "magma", "vmin": low, "vmax": max(high, low + 1e-9)}


def _smoothed(spectrum: Float64Array, sigma_px: float) -> Float64Array:
    """Blur a spectrum, which continues periodically, by a Gaussian."""
    if sigma_px <= 0:
        return spectrum
    gains = [np.exp(-2 * (np.pi * sigma_px * np.fft.fftfreq(n)) ** 2) for n in spectrum.shape]
    return np.fft.ifft2(np.fft.fft2(spectrum) * gains[0][:, None] * gains[1]).real


def _figure(width_inches: float, height_inches: float) -> Figure:
    # Not through pyplot: no global state, no display, no window.
    return Figure(figsize=(width_inches, height_inches), dpi=DOTS_PER_INCH, layout="constrained")


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure as a PNG, always the same bytes for the same figure.

    Raises:
        UsageError: The file cannot be written.
    """
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    try:
        write_atomic(path, stream.getvalue())
    except OSError as error:
        raise UsageError(
            f"Cannot write {path}: {error.strerror or error}.",
            hint="Give --output a file in a folder that can be written to.",
        ) from error
