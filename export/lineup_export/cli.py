"""`lineup export`: turn models into bundles for the runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lineup.bundles.manifest import BatchRange, Precision
from lineup.extras import require_extra
from lineup_export.options import (
    batch_option,
    component_progress,
    echo_report,
    folder_for_precision,
    opset_option,
    overwrite_option,
    precision_option,
    stopped_by_sigterm,
)


@click.group()
def export() -> None:
    """Turn models into bundles for the runtime."""
    require_extra("export", ("torch", "onnx", "onnxscript"))


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
            click.option(
                "--exporter",
                type=click.Choice(["torch", "optimum"]),
                default="torch",
                show_default=True,
                help="What writes the graphs: torch's exporter, or optimum's where it can.",
            ),
            overwrite_option,
        )
    ):
        command = option(command)
    return command


_MODEL_HELP = """Export {} as a bundle.

The model is a recipe (`lineup models list`), a repository of the Hugging Face hub, or a folder
that `save_pretrained` wrote; safetensors only. Every graph is compared with torch in single
precision; without parity no bundle is written.
"""


@export.command(help=_MODEL_HELP.format("a captioner"))
@_shared_options
def captioner(**options: Any) -> None:
    """Export a captioner."""
    _export("captioner", **options)


@export.command(help=_MODEL_HELP.format("an image encoder"))
@_shared_options
@click.option(
    "--layer",
    type=click.IntRange(min=1),
    default=None,
    help="Block at which the tower is cut.  [default: RECIPE's, the middle]",
)
def encoder(**options: Any) -> None:
    """Export an image encoder."""
    _export("encoder", **options)


@export.command(help=_MODEL_HELP.format("a text-to-image generator"))
@_shared_options
def generator(**options: Any) -> None:
    """Export a text-to-image generator."""
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
    require_extra("export", ("diffusers", "huggingface_hub", "transformers"))
    from lineup_export.assembly import ExportOptions
    from lineup_export.component import Exporter
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


@export.command()
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
    from lineup_export.pocket import NAMES, bundle_from_pocket

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


@export.command()
@click.argument("checkpoint", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--output",
    required=True,
    metavar="BUNDLE",
    type=click.Path(path_type=Path),
    help="Bundle folder to write.",
)
@click.option(
    "--name", default="whitened-spectrum", show_default=True, help="Name of the bundle in a store."
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16"]),
    default="fp32",
    show_default=True,
    help="Number format of the whitening axes; the spectrum is always fp32.",
)
@opset_option
@click.option(
    "--max-tiles",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Most tiles that the runtime takes from one image.",
)
@overwrite_option
def fingerprint(
    *,
    checkpoint: Path,
    output: Path,
    name: str,
    precision: str,
    opset: int,
    max_tiles: int,
    overwrite: bool,
) -> None:
    """Export a fitted fingerprint as a bundle.

    CHECKPOINT is what `lineup train whitening` wrote. The graph is compared with a reference in
    double precision; without parity no bundle is written.
    """
    from lineup_export.fingerprint import FingerprintExport, bundle_from_checkpoint

    options = FingerprintExport(
        name=name,
        precision=Precision(precision),
        opset=opset,
        max_tiles=max_tiles,
        overwrite=overwrite,
    )
    bundle = bundle_from_checkpoint(checkpoint, output, options)
    for role, graph in bundle.manifest.graphs.items():
        parity = graph.parity
        click.echo(
            f"{bundle.path}: {role} {bundle.manifest.size_bytes / 2**20:.1f} MiB, "
            f"{parity.metric} {parity.value:.2g} (at most {parity.tolerance:.2g}) "
            f"against {parity.reference}"
        )
