"""From the name that a user gives to a loaded workload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from lineup.types import RgbImage
from lineup_lab.bench.workloads import (
    Workload,
    bundle_or_none,
    open_bundle_workload,
    synthetic_image,
)

if TYPE_CHECKING:
    from lineup.attribution.engine import LineupEngine
    from lineup.attribution.options import AttributionOptions


class LineupWorkload(Workload):
    """A verdict on one image by evidence of a lineup, nothing taken from the cache."""

    kind, unit = "lineup", "verdict"

    def __init__(self, engine: LineupEngine, options: AttributionOptions, image: RgbImage) -> None:
        self._engine, self._options, self._image = engine, options, image
        self.name = engine.lineup.spec.name
        self.digest = engine.run_id(options)
        self.device = str(engine.engine.extractor.device)

    def run(self, index: int) -> Mapping[str, float]:
        """Attribute the image."""
        done = self._engine.attribution(self._image, options=self._options)
        stages = {"tiles": done.preprocess_ms, "fuse": done.fuse_ms}
        if done.resynthesis is None:
            return stages | {"fingerprint": done.inference_ms}
        cost = {one.stage: 1e3 * one.seconds for one in done.resynthesis.cost.stages}
        rest = done.inference_ms - sum(cost.values())
        return stages | cost | {"query fingerprint and comparison": rest}

    def close(self) -> None:
        """Release the models."""
        self._engine.close()


def open_workload(
    target: str,
    *,
    size_px: int = 512,
    device: str = "auto",
    threads: int = 0,
    evidence: list[str] | None = None,
    gamma: int | None = None,
) -> Workload:
    """Open a bundle or, where no bundle has that name, a lineup.

    Args:
        target: Name or path.
        size_px: Sides of the synthetic image that is looked at.
        device: See `lineup.backends.device.device_from_text`.
        threads: Threads on the CPU; 0 takes every core.
        evidence: Of a lineup; None takes all that it has.
        gamma: Resyntheses per candidate; None takes the lineup's default.

    Raises:
        LineupError: The target or the device cannot be used.
    """
    bundle = bundle_or_none(target)
    if bundle is not None:
        return open_bundle_workload(bundle.path, size_px=size_px, device=device, threads=threads)
    # Here, because a bundle needs none of it.
    from lineup.attribution.opening import open_lineup_engine  # noqa: PLC0415
    from lineup.attribution.options import AttributionOptions  # noqa: PLC0415

    engine = open_lineup_engine(
        target, evidence=evidence, device=device, threads=threads, cache=False
    )
    settings = engine.lineup.spec.resynthesis
    if gamma is not None:
        settings = replace(settings, gamma=gamma)
    options = AttributionOptions(
        evidence=None if evidence is None else tuple(evidence), resynthesis=settings
    )
    return LineupWorkload(engine, options, synthetic_image(size_px))
