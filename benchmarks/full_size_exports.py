"""Exports of every recipe at full size with random weights: time, memory, size, parity.

    python benchmarks/full_size_exports.py [RECIPE...] [--precision fp16] [--keep DIR] [--record]

Each export runs in a process of its own, one at a time, like `lineup export KIND RECIPE --weights
random`; its bundle is deleted unless --keep names a folder. `fingerprint` is a recipe here: the
default settings with random whitening. With --record, results/full_size_exports.json gains what was
measured as soon as it is there; --table prints what it holds for export/README.md and measures
nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from _record import anonymous_mib, environment, keep_result, kept_results, parser_of
from lineup.bundles.manifest import Precision
from lineup.machine import MemoryWatch
from lineup_export.component import ExportOptions
from lineup_export.fingerprint import bundle_from_checkpoint
from lineup_export.public.request import ExportRequest, bundle_from_model, model_from_request
from lineup_models.fingerprint.checkpoint import Checkpoint, write_checkpoint
from lineup_models.fingerprint.covariance import FoundAxes
from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.recipes.read import open_recipe, recipe_names

BENCHMARK = "full_size_exports"
FINGERPRINT = "fingerprint"
KEY = ("recipe", "precision")


def exported_recipe(name: str, precision: Precision, target: Path) -> list[dict[str, Any]]:
    """Export a recipe's architecture; return what was measured per component."""
    request = ExportRequest(open_recipe(name).kind, name, "random")
    model = model_from_request(request, precision)
    reports = bundle_from_model(model, target, ExportOptions(precision)).reports
    return [
        {
            "role": report.role,
            "parameters": report.parameters,
            "size_bytes": report.size_bytes,
            "fp32_islands": list(report.islands),
            "max_relative_error": report.parity.value,
            "tolerance": report.parity.tolerance,
            "cosine": report.cosine,
            "exporter_s": report.export_seconds,
            "export_peak_mib": anonymous_mib(report.export_peak),
            "parity_peak_mib": anonymous_mib(report.parity_peak),
        }
        for report in reports
    ]


def exported_fingerprint(precision: Precision, target: Path) -> list[dict[str, Any]]:
    """Export the default fingerprint with random whitening; return what was measured."""
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(random_checkpoint(), Path(folder, "checkpoint"))
        options = ExportOptions(precision)
        bundle = bundle_from_checkpoint(Path(folder, "checkpoint"), target, options)
    return [
        {
            "role": role,
            "size_bytes": bundle.manifest.size_bytes,
            "max_relative_error": graph.parity.value,
            "tolerance": graph.parity.tolerance,
        }
        for role, graph in bundle.manifest.graphs.items()
    ]


def random_checkpoint() -> Checkpoint:
    """Return a fit of the default settings that no photograph was needed for."""
    spec, random = SpectrumSpec(), np.random.default_rng(0)
    orthonormal, _ = np.linalg.qr(random.normal(size=(spec.fingerprint_dimension, spec.axes)))
    fit = FoundAxes(
        mean=random.uniform(0.5, 1.5, spec.fingerprint_dimension),
        axes=np.ascontiguousarray(orthonormal.T, dtype=np.float32),
        variances=np.geomspace(5, 0.05, spec.axes),
        floor=0.03,
    )
    return Checkpoint(spec, fit, {"photographs": 0})


def measured_export(arguments: argparse.Namespace, name: str, target: Path) -> dict[str, Any]:
    """Export in this process; return what was measured."""
    precision = Precision(arguments.precision)
    start = time.perf_counter()
    with MemoryWatch(0.02) as watch:
        if name == FINGERPRINT:
            components = exported_fingerprint(precision, target)
        else:
            components = exported_recipe(name, precision, target)
    return {
        "recipe": name,
        "precision": precision.value,
        "total_s": time.perf_counter() - start,
        "peak_mib": anonymous_mib(watch.peak),
        "size_bytes": sum(item.stat().st_size for item in target.rglob("*") if item.is_file()),
        "components": components,
    }


def run_child(arguments: argparse.Namespace, name: str) -> dict[str, Any]:
    """Export in a child process; return what was measured, or how it failed."""
    folder = tempfile.mkdtemp(dir=arguments.keep, prefix=".export-")
    target = Path(folder, name)
    command = [sys.executable, __file__, *sys.argv[1:], "--child", name, "--target", str(target)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            failed = f"killed by signal {-done.returncode}" if done.returncode < 0 else "failed"
            return {"recipe": name, "precision": arguments.precision, "failure": failed}
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        if arguments.keep is not None:
            kept = arguments.keep / name
            shutil.rmtree(kept, ignore_errors=True)
            target.rename(kept)
    finally:
        shutil.rmtree(folder)
    return result


def table_lines(runs: Iterable[dict[str, Any]]) -> list[str]:
    """Return a Markdown table, one line per component."""
    lines = [
        "| recipe | precision | component | M parameters | MB | error | cosine | s | peak MiB "
        "| fp32 islands |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        named = f"| {run['recipe']} | {run['precision']} "
        if "failure" in run:
            lines.append(f"{named}| {run['failure']} | | | | | | | |")
            continue
        for item in run["components"]:
            lines.append(f"{named}| {_component_cells(item)} |")
        whole = f"**{run['total_s']:.0f}** | **{run['peak_mib']:.0f}**"
        lines.append(f"{named}| **whole** | | **{run['size_bytes'] / 1e6:.0f}** | | | {whole} | |")
    return lines


def _component_cells(item: dict[str, Any]) -> str:
    def cell(key: str, form: str, scale: float = 1.0) -> str:
        return format(item[key] / scale, form) if item.get(key) is not None else ""

    return " | ".join(
        (
            item["role"],
            cell("parameters", ".1f", 1e6),
            cell("size_bytes", ".0f", 1e6),
            cell("max_relative_error", ".2g"),
            cell("cosine", ".7f"),
            cell("exporter_s", ".0f"),
            cell("export_peak_mib", ".0f"),
            " and ".join(item.get("fp32_islands", ())),
        )
    )


def main() -> None:
    """Export what was named, one at a time, and print what came out."""
    parser = parser_of(__doc__)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="default: all")
    parser.add_argument("--precision", choices=["fp32", "fp16"], default="fp16")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the bundles here")
    parser.add_argument("--table", action="store_true", help="print what is on record")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--target", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.table:
        print("\n".join(table_lines(kept_results(BENCHMARK))))
        return
    if arguments.child is not None:
        print(json.dumps(measured_export(arguments, arguments.child, arguments.target)))
        return
    names = [FINGERPRINT, *recipe_names()]
    if unknown := set(arguments.recipes) - set(names):
        parser.error(f"no such recipe: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    runs = []
    for name in arguments.recipes or names:
        runs.append(run_child(arguments, name))
        print("\n".join(table_lines(runs[-1:])), flush=True)
        if arguments.record:
            keep_result(BENCHMARK, runs[-1], KEY)
    print(json.dumps({"benchmark": BENCHMARK, "environment": environment(), "results": runs}))
    sys.exit(any("failure" in run for run in runs))


if __name__ == "__main__":
    main()
