"""`lineup lineups`: list, show and create lineups."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.options import complete_lineups, json_option
from lineup.cli.tables import add_row, echo_json, plain_table, print_table, say, size_text

if TYPE_CHECKING:
    from rich.table import Table

    from lineup.lineups.store import StoredLineup


@click.group(short_help="List and make sets of models that answer together.")
def lineups() -> None:
    """List and make lineups: sets of models that answer together."""


@lineups.command("list", short_help="List the lineups.")
@json_option
def list_command(as_json: bool) -> None:
    """List the lineups that come with lineup and your own."""
    from lineup.lineups.store import list_lineups

    stored = list_lineups()
    if as_json:
        echo_json([_line(one) for one in stored])
        return
    table = plain_table("lineup", "candidates", "captioner", "encoder", "fingerprint", "from")
    for one in stored:
        if one.spec is None:
            add_row(table, one.name, "unreadable")
            continue
        names = ", ".join(candidate.name for candidate in one.spec.candidates)
        add_row(
            table,
            one.name,
            names or "the gallery's sources",
            one.spec.captioner or "",
            one.spec.encoder or "",
            one.spec.fingerprint or "the shipped one",
            "lineup" if one.shipped else "yours",
        )
    print_table(table)
    for one in stored:
        if one.problem is not None:
            say(one.problem, err=True)


@lineups.command(short_help="Describe one lineup.")
@click.argument("lineup", metavar="NAME", shell_complete=complete_lineups)
@json_option
def show(lineup: str, as_json: bool) -> None:
    """Describe the lineup NAME; a folder or lineup.toml does as well.

    Bundles are not verified: `lineup models verify` does that.
    """
    from lineup.lineups.store import open_lineup
    from lineup.lineups.summary import record_from_lineup

    record = record_from_lineup(open_lineup(lineup))
    if as_json:
        echo_json(record)
        return
    for label in ("name", "path", "captioner", "encoder", "fingerprint", "gallery", "calibration"):
        value = record[label]
        if isinstance(value, dict):
            value = f"{value['bundle']}, {_size(value['size_bytes'])}"
        say(f"{label:<12} {value or _absent(label)}")
    settings = ", ".join(f"{key} {value}" for key, value in record["resynthesis"].items())
    say(f"{'resynthesis':<12} {settings}")
    print_table(_candidate_table(record))
    problems = [one["problem"] for one in record["candidates"] if one["problem"]]
    models = [record[kind] for kind in ("captioner", "encoder", "fingerprint")]
    problems += [model["problem"] for model in models if model is not None and model["problem"]]
    for problem in problems:
        say(problem, err=True)


@lineups.command(short_help="Make a lineup of your own.")
@click.argument("name")
@click.option("--captioner", metavar="BUNDLE", help="Describes images to be resynthesised.")
@click.option("--encoder", metavar="BUNDLE", help="Image features, to compare resyntheses.")
@click.option("--fingerprint", metavar="BUNDLE", help="Fingerprints.  [default: the shipped ones]")
@click.option(
    "--candidate",
    "candidates",
    multiple=True,
    metavar="NAME=BUNDLE",
    help="A generator; can be repeated. NAME is its name in verdicts and in the gallery.",
)
@click.option(
    "--gallery-candidate",
    "gallery_candidates",
    multiple=True,
    metavar="NAME",
    help="A generator that is not run here, known by its images alone; can be repeated.",
)
@click.option(
    "--stored-candidate",
    "stored_candidates",
    multiple=True,
    metavar="NAME",
    help="A generator behind an API, known by what `lineup resyntheses add` keeps of it, or by "
    "what a command makes: NAME=COMMAND; can be repeated.",
)
@click.option(
    "--gallery",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of sources that join the shipped gallery and your own enrolments.",
)
@click.option("--gamma", type=click.IntRange(min=1), help="Resyntheses per candidate.")
@click.option(
    "--force",
    is_flag=True,
    help="Replace a lineup of the same name, or hide one that comes with lineup.",
)
def create(
    *,
    name: str,
    captioner: str | None,
    encoder: str | None,
    fingerprint: str | None,
    candidates: tuple[str, ...],
    gallery_candidates: tuple[str, ...],
    stored_candidates: tuple[str, ...],
    gallery: Path | None,
    gamma: int | None,
    force: bool,
) -> None:
    """Make the lineup NAME of installed bundles (`lineup models list`) or bundle folders."""
    from lineup.lineups.spec import LINEUP_TOML
    from lineup.lineups.store import create_lineup, is_shipped
    from lineup.lineups.summary import check_bundles

    raw: dict[str, Any] = {
        "schema_version": 1,
        "name": name,
        "captioner": _reference(captioner),
        "encoder": _reference(encoder),
        "fingerprint": _reference(fingerprint),
        "gallery": None if gallery is None else str(gallery.resolve()),
        "candidates": [_candidate(text) for text in candidates]
        + [{"name": one} for one in gallery_candidates]
        + [_stored_candidate(text) for text in stored_candidates],
        "resynthesis": {} if gamma is None else {"gamma": gamma},
    }
    present = {key: value for key, value in raw.items() if value is not None}
    spec = LINEUP_TOML.from_raw(present, where=f"lineup {name}")
    check_bundles(spec)
    folder = create_lineup(spec, force=force)
    say(f"made {name} in {folder}")
    if is_shipped(name):
        say(f"note: it hides the lineup {name} that comes with the package", err=True)


def _candidate(text: str) -> dict[str, str | None]:
    name, separator, bundle = text.partition("=")
    if not separator or not bundle:
        raise click.UsageError(
            f"--candidate {text}: expected NAME=BUNDLE; --gallery-candidate takes a name alone."
        )
    return {"name": name, "bundle": _reference(bundle)}


def _stored_candidate(text: str) -> dict[str, str | bool]:
    name, separator, command = text.partition("=")
    return {"name": name, "command": command} if separator else {"name": name, "stored": True}


def _reference(text: str | None) -> str | None:
    """Return a bundle as lineup.toml has it: a name, or an absolute path for a folder."""
    import os

    from lineup.bundles.manifest import MANIFEST_NAME

    if text is None:
        return None
    is_path = "/" in text or os.sep in text or (Path(text) / MANIFEST_NAME).is_file()
    return Path(text).expanduser().resolve().as_posix() if is_path else text


def _line(one: StoredLineup) -> dict[str, Any]:
    """Return a lineup's line of `list --json`; what an unreadable one holds is null."""
    spec = one.spec
    return {
        "name": one.name,
        "path": None if one.path is None else str(one.path),
        "shipped": one.shipped,
        "candidates": None if spec is None else [candidate.name for candidate in spec.candidates],
        "problem": one.problem,
    }


def _candidate_table(record: dict[str, Any]) -> Table:
    table = plain_table("candidate", "bundle", "VAE family", "size", "images in the gallery")
    for one in record["candidates"]:
        add_row(
            table,
            one["name"],
            one["bundle"] or one["command"] or ("stored" if one["stored"] else ""),
            one["vae_family"] or "",
            "" if one["size_bytes"] is None else size_text(one["size_bytes"]),
            str(one["gallery_images"]),
        )
    for source in record["gallery_sources"]:
        add_row(table, source["name"], "", "", "", str(source["images"]), style="dim")
    return table


def _absent(label: str) -> str:
    defaults = {
        "path": "built in",
        "fingerprint": "the shipped one",
        "gallery": "none beside the shipped one and your own enrolments",
    }
    return defaults.get(label, "none")


def _size(size_bytes: int | None) -> str:
    return "size unknown" if size_bytes is None else size_text(size_bytes)
