"""`lineup export`: turn models into bundles for the runtime."""

from __future__ import annotations

from pathlib import Path

import click

from lineup.extras import require_extra
from lineup_export.options import opset_option, overwrite_option
from lineup_export.pocket.cli import pocket
from lineup_export.public.cli import captioner, encoder, generator


@click.group()
def export() -> None:
    """Turn models into bundles for the runtime."""
    require_extra("export", ("torch", "onnx", "onnxscript"))


for _command in (captioner, encoder, generator, pocket):
    export.add_command(_command)


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
    from lineup.bundles.manifest import Precision
    from lineup_export.fingerprint.exporter import FingerprintExport, bundle_from_checkpoint

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
