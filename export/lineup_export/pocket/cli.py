"""`lineup export pocket`."""

from __future__ import annotations

from pathlib import Path

import click

from lineup.bundles.manifest import BatchRange, Precision
from lineup_export.options import (
    batch_option,
    folder_for_precision,
    opset_option,
    overwrite_option,
    precision_option,
)


@click.command()
@click.argument(
    "checkpoint",
    required=False,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option(
    "--weights",
    type=click.Choice(["trained", "random"]),
    default="trained",
    show_default=True,
    help="Weights of CHECKPOINT, or seeded random ones.",
)
@click.option(
    "--output",
    required=True,
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the bundles, one folder each, called after its model.",
)
@click.option(
    "--model",
    "models",
    metavar="NAME",
    multiple=True,
    help="Export only this model; may be given several times.  [default: all]",
)
@precision_option
@opset_option
@batch_option
@overwrite_option
def pocket(
    *,
    checkpoint: Path | None,
    weights: str,
    output: Path,
    models: tuple[str, ...],
    precision: tuple[Precision, ...],
    opset: int,
    batch: BatchRange | None,
    overwrite: bool,
) -> None:
    """Export the models of the pocket lineup as bundles.

    CHECKPOINT is what `lineup train pocket` wrote. Every graph is compared with torch in single
    precision; a model without parity gets no bundle.
    """
    from lineup_export.assembly import ExportOptions
    from lineup_export.pocket.exporter import NAMES, bundle_from_pocket
    from lineup_export.progress import component_progress, echo_report, stopped_by_sigterm

    if (checkpoint is None) != (weights == "random"):
        raise click.UsageError("Name a CHECKPOINT, or pass --weights random without one.")
    unknown = sorted(set(models) - set(NAMES))
    if unknown:
        raise click.UsageError(
            f"There is no pocket model {unknown[0]!r}; there are: {', '.join(NAMES)}."
        )
    for number_format in precision:
        folder = folder_for_precision(output, number_format, len(precision))
        options = ExportOptions(
            precision=number_format, opset=opset, overwrite=overwrite, batch=batch
        )
        for name in models or NAMES:
            with stopped_by_sigterm(), component_progress(name) as watch:
                exported = bundle_from_pocket(checkpoint, name, folder / name, options, watch)
            echo_report(exported)
