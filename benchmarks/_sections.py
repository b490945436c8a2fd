"""What the report says of each record: a title, the command that makes it, and lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]
ANONYMOUS, MAPPED = "peak_mib.anonymous_mib", "peak_mib.file_backed_mib"


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the report.

    Attributes:
        title: Its heading.
        record: Name of the record it shows.
        command: What makes the record.
        lines: Markdown from the record.
    """

    title: str
    record: str
    command: str
    lines: Callable[[Document], list[str]]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a Markdown table."""
    rule = "|".join("---" for _ in header)
    return [f"| {' | '.join(header)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in rows)]


def plot(name: str, title: str) -> list[str]:
    """Return a picture; `report.py` draws it."""
    return ["", f"![{title}](results/plots/{name}.png)"]


def number(values: Mapping[str, float], key: str, form: str) -> str:
    """Return a figure, or nothing where it was not measured."""
    return format(values[key], form) if values.get(key) is not None else ""


def numbers(values: Mapping[str, float], columns: Mapping[str, str]) -> list[str]:
    """Return figures by their forms, nothing where one was not measured."""
    return [number(values, key, form) for key, form in columns.items()]


def ratio(ratios: Mapping[str, Mapping[str, float]], key: str) -> str:
    """Return median and extremes of a ratio, or nothing."""
    if key not in ratios:
        return ""
    one = ratios[key]
    return f"**{one['median']:.2f}** ({one['min']:.2f} to {one['max']:.2f})"


def tiny_warning(document: Document) -> list[str]:
    """Say so when the models were tiny ones."""
    tiny = document["settings"].get("tiny")
    return ["*Tiny models: a try-out, no measurement.*", ""] if tiny else []


def failures_and_versions(results: Mapping[str, Any]) -> list[str]:
    """Say what failed, and what the peers are."""
    said = [f"- {name}: failed: {why}" for name, why in results["failures"].items()]
    for name, versions in results["versions"].items():
        if versions:
            said.append(f"- {name}: " + ", ".join(f"{k} {v}" for k, v in versions.items()))
    return ["", *said] if said else []


def fingerprint(document: Document) -> list[str]:
    """The shipped fingerprint against the published pipeline."""
    results, rows = document["results"], []
    for threads, cases in results["times"].items():
        for case, one in cases.items():
            spread = {"wall": one["ratio"]}
            rows.append(
                (
                    case,
                    threads,
                    f"{one['shipped']['median_ms']:.1f}",
                    f"{one['published']['median_ms']:.0f}",
                    ratio(spread, "wall"),
                    f"{one['cpu_ratio']:.0f}",
                )
            )
    header = ("images", "threads", "ours, ms an image", "published, ms", "ratio", "of core time")
    lines = table(header, rows)
    memory = [
        (case, name, *(f"{stages['after_call'][key]:.0f}" for key in _MEMORY_KEYS))
        for case, pipelines in results["memory"].items()
        for name, stages in pipelines.items()
        if stages["after_call"] is not None
    ]
    named = ("image", "pipeline", "resident MiB", "anonymous", "mapped")
    return [*lines, "", *table(named, memory)]


_MEMORY_KEYS = ("peak_rss_mib", "peak_anonymous_mib", "peak_file_backed_mib")


def synthesis(document: Document) -> list[str]:
    """One image of a candidate: ours and the peers."""
    results, rows = document["results"], []
    for name, one in results["medians"].items():
        ratios = results["ratios"].get(name, {})
        error = results["image_errors"].get(name)
        load = one.get("load_s", one.get("open_s", 0) + one.get("stages_s.load", 0))
        told = "" if error is None else f"{error['mean_levels']:.3f} / {error['max_levels']:.0f}"
        ready = number(one, "ready_s", ".1f")
        rows.append((name, f"{load:.1f}", ready, *against_ours(one, ratios), told))
    header = (
        "program", "load s", "first image after s", "image s, warm", "ratio", "anonymous MiB",
        "mapped MiB", "ratio of anonymous", "levels off (mean / max)",
    )  # fmt: skip
    lines = [*tiny_warning(document), *table(header, rows)]
    lines += plot(document["benchmark"], "times")
    return lines + failures_and_versions(results)


def against_ours(one: Mapping[str, float], ratios: Mapping[str, Any]) -> list[str]:
    """Return the warm time and the peak memory of a program, each with its ratio to ours."""
    memory = numbers(one, {ANONYMOUS: ".0f", MAPPED: ".0f"})
    run = number(one, "run_s", ".2f")
    return [run, ratio(ratios, "run_s"), *memory, ratio(ratios, ANONYMOUS)]


def denoiser(document: Document) -> list[str]:
    """One step of the denoiser: ours and ONNX Runtime's defaults."""
    results, rows = document["results"], []
    for name, one in results["medians"].items():
        ratios = results["ratios"].get(name, {})
        rows.append((name, number(one, "load_s", ".2f"), *against_ours(one, ratios)))
    header = ("session", "load s", "step s", "ratio", "anonymous MiB", "mapped MiB", "ratio")
    lines = [*tiny_warning(document), *table(header, rows)]
    if results["max_difference"] is not None:
        lines += ["", f"Outputs differ by {results['max_difference']:.2g} at most."]
    return lines + failures_and_versions(results)


def attribution(document: Document) -> list[str]:
    """A scan against the script, at every point."""
    rows = []
    for point in document["results"]["points"]:
        theirs = next(iter(point["ratios"].values()), {})
        medians = point["medians"]
        scan, script = (medians.get(name, {}) for name in ("lineup scan", "PyTorch script"))
        rows.append(
            (
                f"{point['images']} x {point['candidates']}",
                number(scan, "total_s", ".1f"),
                number(script, "total_s", ".1f") or point["failures"].get("PyTorch script", ""),
                ratio(theirs, "total_s"),
                number(scan, ANONYMOUS, ".0f"),
                number(script, ANONYMOUS, ".0f"),
                ratio(theirs, ANONYMOUS),
                ratio(theirs, "peak_mib.total_mib"),
                agreement_text(point["agreement"]),
            )
        )
    header = (
        "images x candidates", "scan s", "script s", "ratio", "scan anonymous MiB",
        "script anonymous MiB", "ratio", "ratio of resident", "same captions; similarity gap",
    )  # fmt: skip
    lines = [*tiny_warning(document), *table(header, rows)]
    if len(rows) > 1:
        lines += plot(document["benchmark"], "cost of a scan")
    return lines + failures_and_versions(document["results"]["points"][-1])


def agreement_text(found: Mapping[str, Any]) -> str:
    """Say whether both did the same."""
    if not found:
        return ""
    gap = found["max_similarity_gap"]
    told = "" if gap is None else f"; {gap:.1g}"
    return f"{found['same_captions_percent']:.0f} %{told}"


def start(document: Document) -> list[str]:
    """Whole processes of the command line."""
    rows = [
        (
            f"`{command}`",
            *(f"{one[key]:.0f}" for key in ("min_ms", "median_ms", "p90_ms")),
            ", ".join(one["heavy_imports_ms"]),
        )
        for command, one in document["results"].items()
    ]
    return table(("command", "min ms", "median", "p90", "heavy imports"), rows)


def growth(document: Document) -> list[str]:
    """Seconds against images and candidates."""
    lines = []
    for name, found in document["results"].items():
        rows = [
            (str(one["count"]), f"{one['seconds']:.2f}", f"{one['peak_anonymous_mib']:.0f}")
            for one in found["points"]
        ]
        lines += [*table((name, "seconds", "anonymous MiB"), rows), ""]
        if found["line"] is not None:
            line = found["line"]
            lines += [f"{line['start_s']:.2f} s, and {1e3 * line['each_s']:.1f} ms for each.", ""]
    redrawn, gamma = (document["settings"][key] for key in ("redrawn", "gamma"))
    lines += [f"Candidates: {redrawn} images, gamma {gamma}, the pocket lineup's own four renamed."]
    return lines + plot("growth", "growth")


def flat(document: Document) -> list[str]:
    """Memory of a long scan."""
    one, count = document["results"], document["settings"]["images"]
    told = (
        f"{count:,} images of {document['settings']['size_px']} px in {one['seconds']:.0f} s: "
        f"{one['early_mib']:.1f} MiB of private memory after the first thousand, "
        f"{one['late_mib']:.1f} MiB at the end: **{one['growth_mib']:+.1f} MiB**."
    )
    return [told, *plot("memory_flat", "memory of a long scan")]


def serving(document: Document) -> list[str]:
    """`lineup serve` under load."""
    found, settings = document["results"], document["settings"]
    load, memory, rates = found["load"], found["load"]["memory"], found["rates"]
    columns = {"p50_ms": ".0f", "p90_ms": ".0f", "p99_ms": ".0f"}
    rows = []
    for kind, one in load["kinds"].items():
        answers = ", ".join(f"{count} x {status}" for status, count in one["statuses"].items())
        rows.append((kind, answers, *numbers(one, columns)))
    told = (
        f"{settings['clients']} clients for {load['seconds']:.0f} s, on the same cores "
        f"(load average {load['load_average']:.1f}): "
        f"{load['requests']:,} requests, {load['rows']:,} verdicts; private memory "
        f"{memory['early_mib']:.0f} MiB early, {memory['late_mib']:.0f} MiB late. "
        f"Eight clients alone: {rates['served_images_per_s']:.1f} images a second, "
        f"`lineup scan` of the same files {rates['scan_images_per_s']:.1f}. "
        f"{found['changed']['requests']:,} changed requests and {found['kills']['kills']} kills. "
        f"Faults: {len(found['faults'])}."
    )
    header = ("request", "answers (0: the connection ended)", "p50 ms", "p90", "p99")
    return [told, "", *table(header, rows)]


def limits(document: Document) -> list[str]:
    """Resynthesis under hard limits."""
    rows = []
    for limit, peers in document["results"]["limits"].items():
        for name, found in peers.items():
            one = found.get("medians", {})
            told = found.get("error", "runs").split(" | ")[-1][:120]
            columns = {"ready_s": ".1f", "run_s": ".2f", ANONYMOUS: ".0f", MAPPED: ".0f"}
            rows.append((limit, name, told, *numbers(one, columns)))
    header = ("limit", "program", "", "first after s", "warm s", "anonymous MiB", "mapped MiB")
    way = document["settings"]["limited_by"] or "No control group"
    says = f"{way}; a control group bounds private memory and pages of files together."
    return [*tiny_warning(document), *table(header, rows), "", says]


def orders(document: Document) -> list[str]:
    """Stage-major against image-major."""
    columns = {"total_s": ".1f", "peak_anonymous_mib": ".0f", "peak_file_backed_mib": ".0f"}
    rows = [
        (order, *numbers(one, columns)) for order, one in document["results"]["medians"].items()
    ]
    settings = document["settings"]
    same = "the same" if document["results"]["identical"] else "**not the same**"
    return [
        *table(("order", "seconds", "anonymous MiB", "mapped MiB"), rows),
        "",
        f"{settings['images']} images, lineup {settings['lineup']}, budget "
        f"{settings['memory_budget']}; rows are {same}.",
    ]


def cascade(document: Document) -> list[str]:
    """The cascade against all evidence."""
    columns = {
        "accuracy_percent": ".1f", "accuracy_change_points": "+.1f", "mean_ms": ".0f",
        "cost_ratio": ".2f", "mean_candidates_redrawn": ".2f",
    }  # fmt: skip
    rows = [(name, *numbers(one, columns)) for name, one in document["results"].items()]
    header = ("procedure", "right %", "points", "mean ms", "times cheaper", "candidates redrawn")
    return table(header, rows)


SECTIONS = (
    Section("Fingerprint", "fingerprint", "python benchmarks/fingerprint.py --record", fingerprint),
    Section(
        "One image of a candidate at SD-Turbo's size, CPU", "synthesis",
        "python benchmarks/synthesis.py --peers lineup 'lineup openvino' 'diffusers fp32' openvino "
        "'stable-diffusion.cpp q8_0' --rounds 3 --repeat 1 --record", synthesis,
    ),
    Section(
        "One image of a candidate at SD-Turbo's size, CPU with bf16", "synthesis_bf16",
        "python benchmarks/synthesis.py --peers lineup 'lineup openvino' 'diffusers fp32' "
        "'diffusers bf16' openvino 'stable-diffusion.cpp q8_0' --rounds 3 --repeat 1 "
        "--name synthesis_bf16 --record", synthesis,
    ),
    Section(
        "One image of a candidate at SD-Turbo's size, CPU with AMX", "synthesis_amx",
        "python benchmarks/synthesis.py --peers lineup 'lineup openvino' 'diffusers fp32' "
        "'diffusers bf16' 'diffusers bf16 compiled' openvino 'stable-diffusion.cpp q8_0' "
        "'stable-diffusion.cpp f16' 'stable-diffusion.cpp f32' --rounds 2 --repeat 1 "
        "--name synthesis_amx --record", synthesis,
    ),
    Section(
        "The same, decoders with fewer products", "synthesis_winograd",
        "python benchmarks/synthesis.py --peers lineup 'lineup openvino' 'diffusers fp32' "
        "'diffusers bf16' --rounds 2 --repeat 1 --name synthesis_winograd --record", synthesis,
    ),
    Section(
        "One image of a candidate at SD-Turbo's size, GPU", "synthesis_gpu",
        "python benchmarks/synthesis.py --device cuda --record", synthesis,
    ),
    Section(
        "One step of the denoiser", "denoiser", "python benchmarks/denoiser.py --record", denoiser
    ),
    Section(
        "A scan against the papers' script", "attribution",
        "python benchmarks/attribution.py --record", attribution,
    ),
    Section(
        "A scan of 16 images by 3 candidates", "attribution_16x3",
        "python benchmarks/attribution.py --points 16x3 --name attribution_16x3 --record",
        attribution,
    ),
    Section(
        "A scan against the papers' script, OpenVINO in bf16", "attribution_openvino",
        "python benchmarks/attribution.py --device openvino --points 1x1 2x1 1x2 "
        "--name attribution_openvino --record", attribution,
    ),
    Section(
        "A scan of 16 images by 3 candidates, OpenVINO in bf16", "attribution_16x3_openvino",
        "python benchmarks/attribution.py --device openvino --points 16x3 --distinct "
        "--name attribution_16x3_openvino --record", attribution,
    ),
    Section(
        "Under hard memory limits", "memory_limits",
        "python benchmarks/memory_limits.py --record", limits,
    ),
    Section(
        "Stage-major and image-major", "orders",
        "python benchmarks/orders.py LINEUP IMAGES --memory-budget 3GiB --record", orders,
    ),
    Section(
        "Cascade", "cascade", "python benchmarks/cascade.py pocket SET --record", cascade,
    ),
    Section(
        "Start and first verdict", "cli_start", "python benchmarks/cli_start.py --record", start
    ),
    Section("Growth", "growth", "python benchmarks/growth.py --record", growth),
    Section(
        "Memory of a long scan", "memory_flat", "python benchmarks/memory_flat.py --record", flat
    ),
    Section("`lineup serve`", "serving", "python benchmarks/serving.py --record", serving),
)  # fmt: skip
