"""Components to bundle: one at a time, and nothing is left when one of them fails."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lineup.bundles.bundle import Bundle
from lineup.bundles.manifest import Manifest, Precision
from lineup.bundles.writer import BundleWriter, today
from lineup.errors import UsageError
from lineup.files import temporary_directory_beside
from lineup.machine import MemoryWatch
from lineup.planning.measuring import bundle_with_costs
from lineup_export.component import Component, ComponentReport, ExportOptions, with_batch
from lineup_export.component_export import add_component
from lineup_export.external import WeightFiles

logger = logging.getLogger(__name__)

Watch = Callable[[str, int, int], None]
"""Called with a component's role, its number and the number of all before it is exported."""


@dataclass(frozen=True, slots=True)
class ExportedBundle:
    """A bundle and what its export measured."""

    bundle: Bundle
    reports: tuple[ComponentReport, ...]


def write_bundle(
    target: Path,
    fields: Mapping[str, Any],
    components: Sequence[Component],
    files: Mapping[str, bytes],
    options: ExportOptions,
    watch: Watch = lambda *_: None,
) -> ExportedBundle:
    """Export components into a bundle; or leave nothing behind.

    Args:
        target: Folder that becomes the bundle.
        fields: What the manifest says about the model as a whole; the details of its source gain
            an entry "components" with what was measured.
        components: In the order of the manifest.
        files: Further files by path inside the bundle, e.g. tokenizers.
        options: How.
        watch: Told before each component.

    Raises:
        ParityError: A graph does not compute what its module computes.
        UsageError: The target exists or cannot be written, the opset is not supported, or nothing
            of the model is compressed at int8.
    """
    if options.precision is Precision.INT8 and not any(
        options.compresses(one.role) for one in components
    ):
        raise UsageError(
            f"{fields['name']} cannot be exported in int8: that is for generators, whose denoiser "
            "and text encoders are compressed.",
            hint="Use --precision fp32.",
        )
    measured: dict[str, Any] = {}
    reports: list[ComponentReport] = []
    batch, source = options.batch, fields["source"]
    details = {**source.details, "components": measured}
    description = Manifest(
        **{**fields, "source": replace(source, details=details)},
        graphs={},
        created=today(),
        precision=options.precision,
        batch=batch,
    )
    writer = BundleWriter(target, description, overwrite=options.overwrite)
    try:
        with writer, temporary_directory_beside(target) as scratch:
            weights = WeightFiles(scratch)
            for path, content in files.items():
                writer.add_file(path, content)
            for number, component in enumerate(components):
                watch(component.role, number, len(components))
                if batch is not None and batch.minimum == batch.maximum:
                    component = with_batch(component, batch.maximum)  # noqa: PLW2901
                report = add_component(writer, component, options, weights)
                logger.info("%s: %s", component.role, report)
                measured[component.role] = report.details()
                reports.append(report)
            return ExportedBundle(measured_bundle(writer.finish()), tuple(reports))
    except OSError as error:
        raise _write_error(target, error) from error


def measured_bundle(bundle: Bundle) -> Bundle:
    """Return a new bundle with what its graphs cost, where that can be and is worth being told.

    Costs are those of a CPU; half precision is for GPUs.
    """
    if bundle.manifest.precision is Precision.FP16 or not MemoryWatch.available():
        return bundle
    return bundle_with_costs(bundle)


def _write_error(target: Path, error: OSError) -> UsageError:
    hint = "Nothing was left behind."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint += " An export needs room for twice the bundle: the graph, and its copy in the bundle."
    return UsageError(f"{target} cannot be written: {error.strerror or error}.", hint=hint)
