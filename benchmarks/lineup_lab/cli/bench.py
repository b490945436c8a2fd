"""`lineup bench`: latency, throughput, memory and power of a bundle or a lineup."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.options import device_option, given_options, json_option, threads_option
from lineup.cli.tables import console_for_tables, echo_json, figures_table, messages_console, say
from lineup.text import shown
from lineup_lab.cli.options import file_option

if TYPE_CHECKING:
    from lineup_lab.bench.devices import Comparison


class _TargetGroup(click.Group):
    """A group whose first argument may also be something to measure: `bench pocket`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            return "run", self.commands["run"], args
        return super().resolve_command(ctx, args)


MOST_RUNS = 1_000_000


@click.group(cls=_TargetGroup, short_help="Measure latency, throughput and memory.")
def bench() -> None:
    """Measure a bundle or a lineup on this machine.

    \b
    lineup bench TARGET [OPTIONS]     measure (see: lineup bench run --help)
    lineup bench compare A B          two measurements side by side
    """  # noqa: D301 - click reads the character, not the two letters, as "keep these lines"


@bench.command(name="run")
@click.argument("target")
@device_option
@threads_option
@click.option(
    "--mode",
    type=click.Choice(["single-stream", "offline"]),
    default="single-stream",
    show_default=True,
    help="One after the other (its figure: p90), or all at hand (its figure: throughput).",
)
@click.option("--iterations", type=click.IntRange(1, MOST_RUNS), default=10, show_default=True)
@click.option(
    "--duration",
    type=click.FloatRange(0, 86_400),
    default=3.0,
    show_default=True,
    help="Shortest time to measure, in seconds.",
)
@click.option("--warmup", type=click.IntRange(0, MOST_RUNS), default=2, show_default=True)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Pieces of work handed over at once in offline mode.",
)
@click.option(
    "--size",
    type=click.IntRange(16, 8192),
    default=512,
    show_default=True,
    help="Sides of the image looked at, in pixels.",
)
@click.option("--evidence", help="Of a lineup: comma-separated names.  [default: all]")
@click.option("--gamma", type=click.IntRange(min=1), help="Of a lineup: pictures per candidate.")
@click.option("--no-cold-start", is_flag=True, help="Do not measure the start of a new process.")
@click.option(
    "--compare-devices",
    is_flag=True,
    help="Measure every graph on every usable device and keep the result for this machine, where "
    "--device auto, `lineup plan` and memory budgets find it. Takes --threads, --json and -o.",
)
@json_option
@file_option("Write everything as JSON to this file.")
def run_command(
    *,
    target: str,
    device: str,
    threads: int,
    mode: str,
    iterations: int,
    duration: float,
    warmup: int,
    batch: int,
    size: int,
    evidence: str | None,
    gamma: int | None,
    no_cold_start: bool,
    compare_devices: bool,
    as_json: bool,
    output: Path | None,
) -> None:
    """Measure TARGET, a bundle or a lineup by name or path."""
    if compare_devices:
        _compare_devices(target, threads, output, as_json=as_json)
        return
    from lineup_lab.bench.harness import BenchMode, BenchOptions, find_sensor, measure
    from lineup_lab.bench.record import cold_start, record_from_measurement
    from lineup_lab.bench.workloads import open_workload

    options = BenchOptions(BenchMode(mode), iterations, duration, warmup, batch)
    arguments: dict[str, Any] = {
        "target": target,
        "size_px": size,
        "device": device,
        "threads": threads,
        "evidence": evidence.split(",") if evidence else None,
        "gamma": gamma,
    }
    with open_workload(**arguments) as workload:
        with messages_console().status("measuring") as status:
            measured = measure(
                workload,
                options,
                sensor=find_sensor(),
                on_run=lambda count: status.update(f"measuring: {count} runs"),
            )
            status.update("starting a new process")
            cold = None if no_cold_start else cold_start(arguments)
        record = record_from_measurement(workload, options, measured, cold)
    _write_json(output, record)
    if as_json:
        echo_json(record, indent=1)
    else:
        _print_record(record)


def _write_json(output: Path | None, content: object) -> None:
    import json

    from lineup.files import write_atomic

    if output is not None:
        write_atomic(output, f"{json.dumps(content, indent=1)}\n".encode())


def _compare_devices(target: str, threads: int, output: Path | None, *, as_json: bool) -> None:
    from lineup_lab.bench.devices import compared_devices

    others = given_options("target", "compare_devices", "threads", "as_json", "output")
    if others:
        raise click.UsageError(f"{', '.join(others)}: not with --compare-devices.")
    with messages_console().status("measuring") as status:
        found = list(compared_devices(target, threads=threads, on_graph=status.update))
    record = [one.to_dict() for one in found]
    _write_json(output, record)
    if as_json:
        echo_json(record, indent=1)
    else:
        _print_comparisons(found)


def _print_comparisons(found: list[Comparison]) -> None:
    console, mib = console_for_tables(), 2**20
    heads = ("bundle", "graph", "device", "load s", "run ms", "loaded MiB", "in a run MiB")
    table = figures_table(*heads, texts=3)
    for one in found:
        for device, graphs in one.graphs.items():
            for role, its in graphs.items():
                table.add_row(
                    one.bundle,
                    role,
                    str(device),
                    f"{its.load_ms / 1e3:.2f}",
                    f"{its.cost.run_ms:.1f}",
                    f"{its.cost.loaded_bytes / mib:.0f}",
                    f"{its.cost.activation_bytes / mib:.0f}",
                )
    console.print(table)
    for one in found:
        for device, kept in one.measured.items():
            say(
                f"{one.bundle} on {device}: {kept.load_ms / 1e3:.2f} s to load, "
                f"{kept.item_ms:.1f} ms a piece of work",
                console=console,
            )
        for device, why in one.failed.items():
            say(f"{one.bundle} on {device}: {why}", console=console)
        say(f"{one.bundle}: --device auto takes {one.auto} where no GPU is", console=console)


@bench.command()
@click.argument("before", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("after", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def compare(before: Path, after: Path) -> None:
    """Show two measurements side by side, and in what else they differ."""
    from rich.markup import escape

    from lineup_lab.bench.record import changes, differences, record_from_file

    first, second = record_from_file(before), record_from_file(after)
    names = (escape(shown(one.name)) for one in (before, after))
    table = figures_table("figure", *names, "ratio")
    for name, (one, other) in changes(first, second).items():
        ratio = other / one if one else float("nan")
        table.add_row(name, f"{one:,.2f}", f"{other:,.2f}", f"{ratio:.2f}")
    console = console_for_tables()
    console.print(table)
    for difference in differences(first, second):
        say(f"differs in {difference}", console=console)


def _print_record(record: dict[str, Any]) -> None:
    console = console_for_tables()
    names = ("min", "mean", "median", "p90", "p95", "p99")
    table = figures_table("ms", *names, "cv")
    rows = {"end to end": record["latency_ms"], **record["stages"]}
    for label, row in rows.items():
        table.add_row(label, *(f"{row[name]:.2f}" for name in names), f"{row['cv']:.2f}")
    environment = record["environment"]
    say(
        f"{record['target']} ({record['kind']}) on {record['device']}, "
        f"{environment['processor']}, {environment['cores']} cores, {record['mode']}",
        console=console,
    )
    console.print(table)
    console.print(f"throughput: {record['throughput_per_s']:.2f} {record['unit']}s/s")
    if record["peak_anonymous_mib"] is not None:
        console.print(
            f"peak memory: {record['peak_anonymous_mib']:.0f} MiB anonymous, "
            f"{record['peak_file_backed_mib']:.0f} MiB file-backed"
        )
    power = record["power_w"]
    console.print(
        "power: no sensor can be read"
        if power is None
        else f"power: {power['mean']:.1f} W mean, {power['peak']:.1f} W peak ({power['sensor']})"
    )
    cold = record["cold_start_ms"]
    if cold is not None:
        console.print(
            f"cold start: {cold['total_ms']:.0f} ms (process {cold['process_ms']:.0f}, "
            f"import {cold['import_ms']:.0f}, open {cold['open_ms']:.0f}, "
            f"first run {cold['first_run_ms']:.0f})"
        )
    for warning in record["warnings"]:
        say(f"warning: {warning}", console=console)
