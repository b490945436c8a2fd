"""`lineup doctor`: versions, usable devices and folders."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from lineup.cli.options import json_option
from lineup.cli.tables import echo_json, say

if TYPE_CHECKING:
    from lineup.doctor import DoctorReport


@click.command(short_help="Show versions, usable devices and folders.")
@json_option
def doctor(as_json: bool) -> None:
    """Show versions, which devices really work, and the folders in use.

    Every device is tried with a small graph, since a library that was built for a GPU does not
    tell whether there is one. Paste the output into a problem report.

    Exits with 1 when a bundle or the gallery cannot be used.
    """
    from lineup.doctor import examine

    report = examine()
    if as_json:
        import dataclasses

        echo_json(dataclasses.asdict(report))
    else:
        _print_report(report)
    sys.exit(0 if report.ok else 1)


def _print_report(report: DoctorReport) -> None:
    memory = (
        f"{report.memory_available_mib:,} MiB free of {report.memory_total_mib:,} MiB"
        if report.memory_total_mib is not None and report.memory_available_mib is not None
        else "unknown"
    )
    home = report.home
    state = "" if home.exists else ", made on first use"
    writable = "writable" if home.writable else "NOT WRITABLE"
    lines = [
        ("lineup", report.lineup),
        ("python", report.python),
        ("system", report.system),
        ("processor", f"{report.processor}, {report.cores} cores"),
        ("memory", memory),
        *[("package", f"{name} {version}") for name, version in report.packages.items()],
        *([("gpu", gpu) for gpu in report.gpus] or [("gpu", "none found")]),
        *[
            ("device", f"{one.name}: {'usable' if one.usable else f'not usable, {one.reason}'}")
            for one in report.devices
        ],
        ("home", f"{home.path} ({writable}, {home.free_mib:,} MiB free{state})"),
        *[("compiled", one) for one in report.compiled],
        *[("bundle", f"{name}: {state}") for name, state in report.bundles.items()],
        ("gallery", report.gallery),
    ]
    for label, text in lines:
        say(f"{label:<10} {text}")
