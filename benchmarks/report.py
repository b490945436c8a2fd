"""RESULTS.md and its plots, from the JSON that the benchmarks recorded.

    python benchmarks/report.py

A benchmark without a record is listed as not run. Nothing is measured here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import nan
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")

from matplotlib import pyplot
from matplotlib.ticker import LogFormatter

from _record import RESULTS_DIR
from _sections import SECTIONS, Document

DPI = 80

REPORT = Path(__file__).parent / "RESULTS.md"
INTRODUCTION = """\
# Results

Made by `python benchmarks/report.py` from the records in [results](results/); `make bench` runs
the programs that fit into half an hour and renders this page. Weights of the large models are
**random** (cost does not depend on them); peers get the very same. Programs that are compared run
in child processes that take turns; figures are medians, ratios are formed within a round and say
how many times more the peer needs. "Anonymous" is private memory, which cannot be dropped; "mapped"
are pages of files, which can; peaks of the whole process, seen from outside.
"""


def records() -> dict[str, dict[str, Any]]:
    """Return every record by its benchmark's name."""
    found = {}
    for path in sorted(RESULTS_DIR.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        found[path.stem] = document
    return found


def device_line(document: dict[str, Any]) -> str:
    """Say where a record was made, and with which versions."""
    environment = document["environment"]
    gpus = ", ".join(map(str, environment["gpus"])) or "no GPU"
    packages = environment["packages"]
    runtime = packages.get("onnxruntime-gpu") or packages.get("onnxruntime")
    return (
        f"{environment['processor']}, {environment['cores']} cores, "
        f"{environment['memory_total_mib'] / 1024:.0f} GiB, {gpus}; {environment['system']}; "
        f"lineup {environment['lineup']}, Python {environment['python']}, ONNX Runtime {runtime}"
    )


def report_from_records(found: dict[str, dict[str, Any]]) -> str:
    """Return the page."""
    parts = [INTRODUCTION]
    for section in SECTIONS:
        parts.append(f"## {section.title}\n")
        document = found.get(section.record)
        if document is None:
            parts.append(f"Not run. `{section.command}`\n")
            continue
        parts += ["\n".join(section.lines(document)), "", f"`{section.command}`"]
        parts.append(f"<br>{device_line(document)}\n")
    return "\n".join(parts)


def draw_plots(records: Mapping[str, Document], folder: Path) -> list[Path]:
    """Draw what there is a record for; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, draw in PLOTS.items():
        if name not in records:
            continue
        figure = draw(records[name])
        figure.tight_layout()
        path = folder / f"{name}.png"
        # Without the version of matplotlib in it, the same figures give the same file.
        figure.savefig(path, dpi=DPI, metadata={"Software": None})
        pyplot.close(figure)
        made.append(path)
    return made


def synthesis(document: Document) -> Any:
    """Warm time and peak memory as bars."""
    medians = document["results"]["medians"]
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 0.6 + 0.5 * len(medians)), sharey=True)
    names = list(medians)[::-1]
    axes[0].barh(names, [medians[name]["run_s"] for name in names], color="tab:blue")
    axes[0].set_xlabel("seconds an image, warm")
    left = [0.0] * len(names)
    parts = (("anonymous", "tab:red"), ("file_backed", "tab:gray"))
    for part, colour in parts:
        mib = [medians[name].get(f"peak_mib.{part}_mib", 0.0) for name in names]
        axes[1].barh(names, mib, left=left, color=colour, label=part.replace("_", "-"))
        left = [a + b for a, b in zip(left, mib, strict=True)]
    axes[1].set_xlabel("peak MiB (each part its own peak)")
    axes[1].legend()
    return figure


def attribution(document: Document) -> Any:
    """Seconds and memory against images x candidates."""
    points = document["results"]["points"]
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.5))
    panels = (("total_s", "seconds"), ("peak_mib.anonymous_mib", "anonymous MiB"))
    for panel, (key, label) in zip(axes, panels, strict=True):
        for name in points[0]["medians"]:
            some = [point for point in points if name in point["medians"]]
            some = sorted(some, key=lambda point: point["images"] * point["candidates"])
            work = [f"{point['images']}x{point['candidates']}" for point in some]
            panel.plot(
                work, [point["medians"][name].get(key, nan) for point in some], "o-", label=name
            )
        panel.set_ylim(bottom=0)
        panel.set_xlabel("images x candidates")
        panel.set_ylabel(label)
        panel.legend()
    return figure


def growth(document: Document) -> Any:
    """Seconds against images and candidates, logarithmic, with the fitted lines."""
    curves = document["results"]
    figure, axes = pyplot.subplots(1, len(curves), figsize=(5 * len(curves), 3.5), squeeze=False)
    for panel, (name, found) in zip(axes[0], curves.items(), strict=True):
        counts = [one["count"] for one in found["points"]]
        panel.loglog(counts, [one["seconds"] for one in found["points"]], "o", label="measured")
        if found["line"] is not None:
            line = found["line"]
            fitted = [line["start_s"] + line["each_s"] * count for count in counts]
            panel.loglog(counts, fitted, "-", label="start + each x count")
        panel.set_xticks(counts, [str(count) for count in counts])
        panel.set_xticks([], minor=True)
        for formatted in (panel.yaxis.set_major_formatter, panel.yaxis.set_minor_formatter):
            formatted(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
        panel.set_xlabel(name)
        panel.set_ylabel("seconds, whole process")
        panel.legend()
    return figure


def memory_flat(document: Document) -> Any:
    """Private memory against rows written."""
    samples = document["results"]["samples"]
    figure, panel = pyplot.subplots(figsize=(8, 3))
    panel.plot([one["rows"] for one in samples], [one["anonymous_mib"] for one in samples])
    panel.set_ylim(bottom=0)
    panel.set_xlabel("images")
    panel.set_ylabel("anonymous MiB")
    return figure


PLOTS: dict[str, Callable[[Document], Any]] = {
    "synthesis": synthesis,
    "synthesis_bf16": synthesis,
    "synthesis_amx": synthesis,
    "synthesis_winograd": synthesis,
    "synthesis_gpu": synthesis,
    "attribution": attribution,
    "attribution_openvino": attribution,
    "growth": growth,
    "memory_flat": memory_flat,
}


def main() -> None:
    """Write the page and its plots."""
    found = records()
    draw_plots(found, RESULTS_DIR / "plots")
    REPORT.write_text(report_from_records(found), encoding="utf-8")
    print(REPORT)


if __name__ == "__main__":
    main()
