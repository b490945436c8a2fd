"""`lineup export captioner|encoder|generator`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lineup.bundles.manifest import BatchRange, Precision
from lineup_export.options import (
    batch_option,
    exporter_option,
    folder_for_precision,
    opset_option,
    overwrite_option,
    precision_option,
)


def _shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what the three commands have in common."""
    for option in reversed(
        (
            click.argument("model", metavar="RECIPE|HF_ID|DIR"),
            click.option(
                "--weights",
                type=click.Choice(["hub", "random"]),
                default="hub",
                show_default=True,
                help="Weights of the hub, or the exact architecture with seeded random ones.",
            ),
            click.option(
                "--output",
                required=True,
                metavar="BUNDLE",
                type=click.Path(file_okay=False, path_type=Path),
                help="Bundle folder to write.",
            ),
            click.option("--name", default=None, help="Name of the bundle.  [default: RECIPE]"),
            click.option(
                "--recipe", default=None, help="Recipe that says how HF_ID or DIR is run."
            ),
            click.option(
                "--revision", default=None, help="Revision on the hub.  [default: RECIPE's, main]"
            ),
            click.option(
                "--licence", default=None, help="SPDX expression of the weights of HF_ID or DIR."
            ),
            click.option(
                "--accept-licence", is_flag=True, help="The licence's conditions are accepted."
            ),
            click.option("--seed", type=int, default=0, help="Seed of random weights."),
            click.option("--tiny", is_flag=True, help="Shrink random architectures, to try out."),
            precision_option,
            opset_option,
            batch_option,
            exporter_option,
            overwrite_option,
        )
    ):
        command = option(command)
    return command


@click.command()
@_shared_options
def captioner(**options: Any) -> None:
    """Export a captioner as a bundle.

    The model is a recipe (`lineup models list`), a repository of the Hugging Face hub, or a folder
    that `save_pretrained` wrote; safetensors only. Every graph is compared with torch in single
    precision; without parity no bundle is written.
    """
    _export("captioner", **options)


@click.command()
@_shared_options
@click.option(
    "--layer",
    type=click.IntRange(min=1),
    default=None,
    help="Block at which the tower is cut.  [default: RECIPE's, the middle]",
)
def encoder(**options: Any) -> None:
    """Export an image encoder as a bundle.

    The model is a recipe (`lineup models list`), a repository of the Hugging Face hub, or a folder
    that `save_pretrained` wrote; safetensors only. Every graph is compared with torch in single
    precision; without parity no bundle is written.
    """
    _export("encoder", **options)


@click.command()
@_shared_options
def generator(**options: Any) -> None:
    """Export a text-to-image generator as a bundle.

    The model is a recipe (`lineup models list`), a repository of the Hugging Face hub, or a folder
    that `save_pretrained` wrote; safetensors only. Every graph is compared with torch in single
    precision; without parity no bundle is written.
    """
    _export("generator", **options)


def _export(
    kind: str,
    *,
    output: Path,
    precision: tuple[Precision, ...],
    opset: int,
    batch: BatchRange | None,
    exporter: str,
    overwrite: bool,
    **asked: Any,
) -> None:
    from lineup.extras import require_extra

    require_extra("export", ("diffusers", "huggingface_hub", "transformers"))
    from lineup_export.assembly import ExportOptions
    from lineup_export.exporters import Exporter
    from lineup_export.progress import component_progress, echo_report, stopped_by_sigterm
    from lineup_export.public.exporter import bundle_from_model
    from lineup_export.public.request import ExportRequest, model_from_request
    from lineup_models.recipes.recipe import RecipeKind

    request = ExportRequest(kind=RecipeKind(kind), **asked)
    for number_format in precision:
        model = model_from_request(request, number_format)
        options = ExportOptions(
            precision=number_format,
            opset=opset,
            overwrite=overwrite,
            batch=batch,
            exporter=Exporter(exporter),
        )
        target = folder_for_precision(output, number_format, len(precision))
        with stopped_by_sigterm(), component_progress(model.name) as watch:
            exported = bundle_from_model(model, target, options, watch)
        echo_report(exported)
