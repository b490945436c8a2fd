"""`lineup export`: turn models into bundles for the runtime."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from lineup.bundles.manifest import BatchRange, Precision
from lineup.cli.tables import say
from lineup.errors import require_extra
from lineup_export.options import (
    batch_option,
    export_and_report,
    opset_option,
    overwrite_option,
    precision_option,
)


@click.group()
def export() -> None:
    """Turn models into bundles for the runtime."""
    require_extra("export", ("torch", "onnx", "onnxscript"))


_MODEL_OPTIONS = (
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
    click.option("--recipe", default=None, help="Recipe that says how HF_ID or DIR is run."),
    click.option(
        "--revision", default=None, help="Revision on the hub.  [default: RECIPE's, main]"
    ),
    click.option("--licence", default=None, help="SPDX expression of the weights of HF_ID or DIR."),
    click.option("--accept-licence", is_flag=True, help="The licence's conditions are accepted."),
    click.option(
        "--seed", type=click.IntRange(0, 2**32 - 1), default=0, help="Seed of random weights."
    ),
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

_MODEL_HELP = """Export {} as a bundle.

The model is a recipe (`lineup models list`), a repository of the Hugging Face hub, or a folder
that `save_pretrained` wrote; safetensors only. Every graph is compared with torch in single
precision; without parity no bundle is written.
"""


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
    from lineup_export.component import Exporter, ExportOptions
    from lineup_export.public.request import ExportRequest, bundle_from_model, model_from_request
    from lineup_models.recipes.recipe import RecipeKind

    request = ExportRequest(kind=RecipeKind(kind), **asked)
    for number_format in precision:
        model = model_from_request(request, number_format)
        options = ExportOptions(number_format, opset, overwrite, batch, Exporter(exporter))
        target = output if len(precision) == 1 else output / number_format.value
        made = partial(bundle_from_model, model, target, options)
        export_and_report(model.recipe.name, made)


def _add_command(kind: str, what: str, *more: Callable[[Any], Any]) -> None:
    """Add the command of a kind of public model, with options of its own."""
    command: Callable[..., None] = partial(_export, kind)
    for option in reversed((*_MODEL_OPTIONS, *more)):
        command = option(command)
    export.command(kind, help=_MODEL_HELP.format(what))(command)


_add_command("captioner", "a captioner")
_add_command(
    "encoder",
    "an image encoder",
    click.option(
        "--layer",
        type=click.IntRange(min=1),
        default=None,
        help="Block at which the tower is cut.  [default: RECIPE's, the middle]",
    ),
)
_add_command("generator", "a text-to-image generator")


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
    from lineup_export.component import ExportOptions
    from lineup_export.pocket import NAMES, bundle_from_pocket

    if (checkpoint is None) != (weights == "random"):
        raise click.UsageError("Name a CHECKPOINT, or pass --weights random without one.")
    unknown = sorted(set(models) - set(NAMES))
    if unknown:
        raise click.UsageError(
            f"There is no pocket model {unknown[0]!r}; there are: {', '.join(NAMES)}."
        )
    for number_format in precision:
        folder = output if len(precision) == 1 else output / number_format.value
        options = ExportOptions(number_format, opset, overwrite, batch)
        for name in models or NAMES:
            made = partial(bundle_from_pocket, checkpoint, name, folder / name, options)
            export_and_report(name, made)


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
    from lineup_export.component import ExportOptions
    from lineup_export.fingerprint import bundle_from_checkpoint

    options = ExportOptions(Precision(precision), opset, overwrite)
    bundle = bundle_from_checkpoint(checkpoint, output, options, name=name, max_tiles=max_tiles)
    for role, graph in bundle.manifest.graphs.items():
        parity = graph.parity
        say(
            f"{bundle.path}: {role} {bundle.manifest.size_bytes / 2**20:.1f} MiB, "
            f"{parity.metric} {parity.value:.2g} (at most {parity.tolerance:.2g}) "
            f"against {parity.reference}"
        )
