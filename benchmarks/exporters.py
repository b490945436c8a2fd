"""Torch's exporter against optimum's, component by component, at full size with random weights.

    python benchmarks/exporters.py [RECIPE[/COMPONENT]...] [--way WAY]... [--record]

One recipe per family. Each component and way runs in a process of its own, one at a time, below
--work; nothing of it stays. An export of next to nothing goes first, for what a process loads and
compiles once; then seconds are those from the module to the graph as a bundle has it, with
optimum's own validation where that is the exporter. Memory is the highest meanwhile, the module
included. Runtime milliseconds are those of one image or sequence at the model's native size, warm,
in the engine's session with mapped weights and in ONNX Runtime's own. Parity is that of an export.
ONNX Runtime's transformer optimizer then shows what can be fused: attentions, normalisations and
activations that are one node, with those that were one before. Half precision has the islands that
its recipe asks for first, and is not timed: it is for GPUs.

With --record, results/exporters.json gains each figure set as soon as it is there; --table prints
what it holds for export/README.md and measures nothing; --tiny tries the program out.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from _record import environment, keep_result, kept_results, parser_of
from _sections import table
from lineup.bundles.manifest import Precision
from lineup_export.component import Exporter, ExportOptions

OPTIMIZER_TYPES = {
    "text_encoder": "clip",
    "image_tower": "clip",
    "image_tower_cut": "clip",
    "unet": "unet",
    "vae_decoder": "vae",
    "vae_encoder": "vae",
    "vision_encoder": "vit",
    "text_decoder": "bert",
}
"""What ONNX Runtime's optimizer calls the architecture of a component; BLIP's decoder is a BERT."""

FUSED = {
    "attention": {"Attention", "MultiHeadAttention", "DecoderMaskedMultiHeadAttention"},
    "normalisation": {
        "EmbedLayerNormalization",
        "GroupNorm",
        "GroupNormalization",
        "LayerNormalization",
        "SkipGroupNorm",
        "SkipLayerNormalization",
    },
    "activation": {"BiasGelu", "BiasSplitGelu", "FastGelu", "Gelu", "QuickGelu"},
}
"""Operators that stand for a whole attention, normalisation or activation."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way from a module to a graph.

    Attributes:
        label: Its name in the table.
        options: Exporter and precision.
        is_fused: Whether long attention becomes ONNX Runtime's own operator, as in every graph
            that `lineup export --precision fp32` writes.
        roles: The components it is measured for; all if empty.
    """

    label: str
    options: ExportOptions
    is_fused: bool = False
    roles: tuple[str, ...] = ()


WAYS: Mapping[str, Way] = {
    "torch": Way("torch", ExportOptions()),
    "fused": Way("torch, fused for CPUs", ExportOptions(), is_fused=True),
    "optimum": Way("optimum", ExportOptions(exporter=Exporter.OPTIMUM)),
    "optimum-fp16": Way(
        "optimum, fp16",
        ExportOptions(Precision.FP16, exporter=Exporter.OPTIMUM),
        roles=("text_encoder", "unet"),
    ),
}


class Task(NamedTuple):
    """One component by one way; its fields stand in the result."""

    recipe: str
    component: str
    way: str


def fused_counts(operators: Mapping[str, int]) -> dict[str, int]:
    """Return how many operators of each kind of `FUSED` a graph has."""
    return {kind: sum(operators.get(one, 0) for one in names) for kind, names in FUSED.items()}


BENCHMARK = "exporters"
KEY = Task._fields
WORKER = Path(__file__).with_name("_exporter_worker.py")

COLUMNS = (
    "recipe", "component", "exporter", "export s", "peak MiB", "nodes", "ms, engine",
    "ms, ONNX Runtime's defaults", "max relative error", "nodes after the optimizer",
    *FUSED,
)  # fmt: skip

COMPONENTS = {
    "sd-turbo": ("text_encoder", "unet", "vae_decoder", "vae_encoder"),
    "blip-base": ("vision_encoder", "text_decoder"),
    "clip-vit-b-32": ("image_tower", "image_tower_cut"),
}
"""What is measured of which recipe."""


def tasks_from(wanted: Iterable[str], ways: Iterable[str]) -> list[Task]:
    """Return what to measure: recipes, or components as RECIPE/COMPONENT; all if empty.

    Raises:
        SystemExit: A recipe or component is not among those measured.
    """
    tasks = []
    for one in list(wanted) or COMPONENTS:
        recipe, _, role = one.partition("/")
        roles = COMPONENTS.get(recipe, ())
        if not roles or (role and role not in roles):
            known = [f"{name}/{item}" for name, items in COMPONENTS.items() for item in items]
            raise SystemExit(f"{one!r} is not measured; these are: {', '.join(known)}")
        tasks += [
            Task(recipe, item, way)
            for item in ([role] if role else roles)
            for way in list(ways) or WAYS
            if item in (WAYS[way].roles or (item,))
        ]
    return tasks


def run_child(task: Task, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure in a child process; return what was measured, and how it failed if it did."""
    with tempfile.TemporaryDirectory(dir=arguments.work, prefix="exporters-") as name:
        target = Path(name, "result.json")
        (scratch := Path(name, "scratch")).mkdir()
        command = [sys.executable, str(WORKER), *task]
        command += ["--result", str(target), "--work", str(scratch)]
        command += ["--threads", str(arguments.threads)]
        command += ["--tiny"] if arguments.tiny else []
        # What libraries leave in the folder for temporary files goes with the rest.
        done = subprocess.run(command, env={**os.environ, "TMPDIR": str(scratch)}, check=False)
        result: dict[str, Any] = task._asdict()
        if target.exists():
            result = json.loads(target.read_text(encoding="utf-8"))
    if done.returncode != 0:
        how = f"killed by signal {-done.returncode}" if done.returncode < 0 else "failed"
        result.setdefault("failures", {})["process"] = how
    return result


def table_lines(results: Iterable[dict[str, Any]]) -> list[str]:
    """Return a Markdown table, one line per component and way."""
    order = {task: place for place, task in enumerate(tasks_from((), ()))}
    ranked = sorted(results, key=lambda one: order[Task(*(one[name] for name in KEY))])
    return table(
        COLUMNS,
        [(one["recipe"], one["component"], WAYS[one["way"]].label, *_cells(one)) for one in ranked],
    )


def _cells(one: Mapping[str, Any]) -> list[str]:
    failures = {stage: text.replace("|", "\\|") for stage, text in one.get("failures", {}).items()}
    if "export_s" not in one:
        return [f"failed: {failures.get('export') or failures['process']}", *[""] * 9]

    def cell(key: str, form: str) -> str:
        if key in failures:
            return f"failed: {failures[key]}"
        return format(one[key], form) if one.get(key) is not None else ""

    parity = f"failed: {failures['parity']}" if "parity" in failures else ""
    if "passes" in one:
        verdict = "passes" if one["passes"] else f"fails, {one['tolerance']:g} is allowed"
        parity = f"{one['max_relative_error']:.2g}, {verdict}"
    fused = one.get("fused", {})
    missing = failures.get("fused") or failures.get("process")
    counts = [str(fused.get(kind, "")) for kind in FUSED]
    return [
        cell("export_s", ".1f"),
        cell("peak_mib", ".0f"),
        cell("nodes", "d"),
        cell("engine_ms", ".1f"),
        cell("default_ms", ".1f"),
        parity,
        f"failed: {missing}" if missing else cell("optimized_nodes", "d"),
        *counts,
    ]


def main() -> None:
    """Measure what was named, one at a time, and print what came out."""
    parser = parser_of(__doc__)
    parser.add_argument("wanted", nargs="*", metavar="RECIPE[/COMPONENT]", help="default: all")
    parser.add_argument(
        "--way", action="append", choices=WAYS, help="may be repeated; default: all"
    )
    parser.add_argument("--threads", type=int, default=0, help="0 takes every core")
    parser.add_argument("--work", type=Path, metavar="DIR", help="folder for temporary files")
    parser.add_argument("--tiny", action="store_true", help="tiny models, to try it out")
    parser.add_argument("--table", action="store_true", help="print what is on record")
    arguments = parser.parse_args()
    if arguments.tiny and arguments.record:
        parser.error("--tiny measures nothing that is worth a record")
    if arguments.table:
        print("\n".join(table_lines(kept_results(BENCHMARK))))
        return
    # A child and its gigabytes go with this process when it is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    results = []
    for task in tasks_from(arguments.wanted, arguments.way or ()):
        results.append(run_child(task, arguments))
        print("\n".join(table_lines(results[-1:])[2:]), flush=True)
        if arguments.record:
            keep_result(BENCHMARK, results[-1], KEY)
    print("\n".join(table_lines(results)))
    print(json.dumps({"benchmark": BENCHMARK, "environment": environment(), "results": results}))
    # A way that cannot export a component is a result.
    sys.exit(any(set(one.get("failures", {})) - {"export"} for one in results))


if __name__ == "__main__":
    main()
