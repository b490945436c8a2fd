"""`lineup cache`: what lineup keeps under the home folder because making it again takes time."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lineup.cli.options import json_option
from lineup.cli.tables import add_row, echo_json, plain_table, print_table, say, size_text
from lineup.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


KEPT = {
    "graphs": ("graphs", "graphs compiled for this machine"),
    "resyntheses": ("cache/resyntheses", "resyntheses and their embeddings"),
    "fits": ("fits", "what fitting galleries found"),
    "measured": ("measured", "what bundles cost on this machine"),
    "verified": ("verified.json", "which files of bundles were verified"),
    "old-engines": ("engines", "of lineup 0.1, not used any more"),
    "old-graphs": ("optimised", "of lineup 0.1, not used any more"),
}
"""Path below the home folder, and what it is; nothing but time is lost with it."""


@click.group(invoke_without_command=True, short_help="Show and clear what is kept for speed.")
@json_option
@click.pass_context
def cache(context: click.Context, as_json: bool) -> None:
    """Show what is kept under the home folder for speed, with sizes.

    Bundles, lineups, enrolments and resyntheses that you added are not among it.
    """
    if context.invoked_subcommand is None:
        _show(as_json)


@cache.command()
@click.argument("what", nargs=-1, type=click.Choice(list(KEPT)))
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def clear(what: tuple[str, ...], yes: bool) -> None:
    """Remove WHAT is kept, or all of it; what is needed again is made again."""
    found = {one: _path(one) for one in KEPT if (not what or one in what) and _path(one).exists()}
    size = size_text(sum(_size(path)[1] for path in found.values()))
    names = ", ".join(found)
    if found and not yes:
        click.confirm(f"Remove {names} ({size})?", abort=True, err=True)
    for path in found.values():
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        except OSError as error:
            raise UsageError(
                f"{path}: cannot be removed: {error.strerror or error}",
                hint="Another process may use it; remove the folder by hand.",
            ) from error
    say(f"removed {names}: {size}" if found else "nothing is kept")


def _show(as_json: bool) -> None:
    from lineup.backends.graph_cache import graph_cache

    graphs = list(graph_cache().list())
    kept = [(one, _path(one), *_size(_path(one))) for one in KEPT]
    if as_json:
        rows = [
            {"what": one, "path": str(path), "files": files, "size_bytes": size_bytes}
            for one, path, files, size_bytes in kept
        ]
        compiled = [
            {
                "bundle": one.bundle,
                "graph": one.role,
                "backend": one.key.backend,
                "release": one.key.release,
                "machine": one.key.machine,
                "path": str(one.path),
                "size_bytes": one.size_bytes,
                "build_seconds": one.build_seconds,
            }
            for one in graphs
        ]
        echo_json({"kept": rows, "graphs": compiled})
        return
    table = plain_table("what", "files", "size", "where", "")
    for one, path, files, size_bytes in kept:
        if os.path.exists(path) or not one.startswith("old"):  # noqa: PTH110 - never fails
            add_row(table, one, str(files), size_text(size_bytes), str(path), KEPT[one][1])
    print_table(table)
    if graphs:
        table = plain_table("bundle", "graph", "compiled by", "for", "size")
        for graph in graphs:
            by = f"{graph.key.backend} {graph.key.release}"
            size = size_text(graph.size_bytes)
            add_row(table, graph.bundle, graph.role, by, graph.key.machine, size)
        print_table(table)


def _path(what: str) -> Path:
    from lineup.paths import home_dir

    return home_dir() / KEPT[what][0]


def _size(path: Path) -> tuple[int, int]:
    """Return the number of files below a path, and their bytes."""
    sizes = list(_sizes(path))
    return len(sizes), sum(sizes)


def _sizes(path: Path) -> Iterator[int]:
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):  # gone since: another process makes room
                yield Path(folder, name).stat().st_size
    with suppress(OSError):
        if path.is_file():
            yield path.stat().st_size
