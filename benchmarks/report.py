"""RESULTS.md and its plots, from the JSON that the benchmarks recorded.

    python benchmarks/report.py

A benchmark without a record is listed as not run. Nothing is measured here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from _plots import draw_plots
from _record import RESULTS_DIR
from _sections import SECTIONS

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


def main() -> None:
    """Write the page and its plots."""
    found = records()
    draw_plots(found, RESULTS_DIR / "plots")
    REPORT.write_text(report_from_records(found), encoding="utf-8")
    print(REPORT)


if __name__ == "__main__":
    main()
