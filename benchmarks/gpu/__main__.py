"""The GPU programs, for a bare machine with a card and no network: what comes first needs nothing.

    python benchmarks/gpu pack [-o build/gpu/slices]       here: wheels, taken apart into slices
    python benchmarks/gpu take SLICE... --site DIR         there: put together again, installed
    python benchmarks/gpu plan                             what each part may take
    python benchmarks/gpu PART [--rehearse] [--steps ...]  run a part, or "all"

Every part keeps within eight minutes, goes on where it was ended, and leaves its figures in
results/gpu/PART.json. --rehearse runs every step with tiny models on the CPU, the memory of the
host in the place of a card's, and keeps what it writes below --work: it measures nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])

from gpu import environment, steps  # noqa: E402


def parser() -> argparse.ArgumentParser:
    """Return what the command line takes."""
    whole = argparse.ArgumentParser(
        prog="gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = whole.add_subparsers(dest="command", required=True)
    pack = commands.add_parser("pack", help="make the slices")
    pack.add_argument("--output", "-o", type=Path, default=Path("build/gpu/slices"))
    pack.add_argument("--python", default="3.12", help="version on the machine with the card")
    pack.add_argument("--slice-mib", type=int, default=environment.SLICE_MIB)
    take = commands.add_parser("take", help="keep slices, and install when all are there")
    take.add_argument("slices", nargs="+", type=Path, metavar="SLICE", help="folders of `pack`")
    take.add_argument("--store", type=Path, default=Path("/tmp/lineup-slices"))  # noqa: S108
    take.add_argument("--site", type=Path, required=True, help="folder for PYTHONPATH")
    commands.add_parser("plan", help="print what each part may take")
    for name in (*steps.PARTS, "all"):
        steps.add_arguments(commands.add_parser(name, help=steps.PARTS.get(name, "every part")))
    return whole


def main(given: list[str] | None = None) -> None:
    """Do what was asked for."""
    arguments = parser().parse_args(given)
    if arguments.command == "pack":
        environment.pack(arguments.output, arguments.python, arguments.slice_mib)
    elif arguments.command == "take":
        environment.take(arguments.slices, arguments.store, arguments.site)
    elif arguments.command == "plan":
        print("\n".join(steps.plan_lines()))
    else:
        names = list(steps.PARTS) if arguments.command == "all" else [arguments.command]
        done = [steps.run_part(name, arguments) for name in names]
        sys.exit(0 if all(done) else 1)


if __name__ == "__main__":
    main()
