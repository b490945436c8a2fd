"""What is measured: one repeatable piece of work per kind of bundle, and a whole verdict."""

from __future__ import annotations

import json
import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lineup.bundles.bundle import Bundle
from lineup.bundles.manifest import BundleKind
from lineup.closing import ClosesOnExit
from lineup.errors import BundleNotFoundError
from lineup.runtime import Runtime
from lineup.trace import Trace
from lineup.types import RgbImage

if TYPE_CHECKING:
    from lineup.engine import Engine
    from lineup.options import AttributionOptions

PROMPT = "a large red ball left of two small blue cubes on a meadow in the evening"


class Workload(ClosesOnExit):
    """A loaded model with one piece of work.

    Attributes:
        name: What is measured.
        kind: "fingerprint", "captioner", "encoder", "generator" or "lineup".
        unit: What one piece of work makes, e.g. "image".
        digest: Identity of what is measured.
        device: Where it runs.
    """

    name: str
    kind: str
    unit: str
    digest: str
    device: str

    @abstractmethod
    def run(self, index: int) -> Mapping[str, float]:
        """Do one piece of work.

        Args:
            index: Of the run; what may be drawn from a seed is drawn from it.

        Returns:
            Milliseconds per stage.
        """

    def run_batch(self, first: int, count: int) -> Mapping[str, float]:
        """Do pieces of work that are all at hand; a model that takes batches overrides it.

        Returns:
            Milliseconds per stage, summed over the pieces.
        """
        total: dict[str, float] = {}
        for index in range(first, first + count):
            for name, ms in self.run(index).items():
                total[name] = total.get(name, 0.0) + ms
        return total


class _Model(Protocol):
    """What a bundle opens to."""

    name: str
    digest: str

    @property
    def device(self) -> object:
        """Where it runs."""

    def close(self) -> None:
        """Release it."""


class ModelWorkload(Workload):
    """Work of one model, which takes several pieces at once.

    Args:
        kind: Of its bundle.
        unit: See `Workload`.
        model: Closed with the workload.
        work: Does the pieces from a first index on, and returns milliseconds per stage.
    """

    def __init__(
        self,
        kind: BundleKind,
        unit: str,
        model: _Model,
        work: Callable[[int, int], Mapping[str, float]],
    ) -> None:
        self.kind, self.unit = kind.value, unit
        self.name, self.digest, self.device = model.name, model.digest, str(model.device)
        self._model, self._work = model, work

    def run(self, index: int) -> Mapping[str, float]:
        """Do one piece."""
        return self._work(index, 1)

    def run_batch(self, first: int, count: int) -> Mapping[str, float]:
        """Do several together."""
        return self._work(first, count)

    def close(self) -> None:
        """Release the model."""
        self._model.close()


class LineupWorkload(Workload):
    """A verdict on one image by evidence of a lineup, nothing taken from the cache."""

    kind, unit = "lineup", "verdict"

    def __init__(self, engine: Engine, options: AttributionOptions, image: RgbImage) -> None:
        self._engine, self._options, self._image = engine, options, image
        self.name = engine.lineup.spec.name
        self.digest = engine.run_id(options)
        self.device = str(engine.extractor.device)

    def run(self, index: int) -> Mapping[str, float]:
        """Attribute the image."""
        done = self._engine.attribute(self._image, options=self._options)
        inference_ms = done.ms.inference or 0.0
        stages = {"tiles": done.ms.preprocess or 0.0, "fuse": done.ms.fuse or 0.0}
        if done.resyntheses is None:
            return stages | {"fingerprint": inference_ms}
        cost = done.resyntheses.trace.ms
        rest = inference_ms - sum(cost.values())
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
    image, runtime = synthetic_image(size_px), Runtime(device, threads=threads)
    try:
        bundle = runtime.bundle(target)
    except BundleNotFoundError:
        pass
    else:
        return _bundle_workload(bundle, image, runtime)
    # Here, because a bundle needs none of it.
    from lineup.engine import open_engine  # noqa: PLC0415
    from lineup.options import AttributionOptions  # noqa: PLC0415

    engine = open_engine(target, device=device, threads=threads, cache=False)
    settings = engine.lineup.spec.resynthesis
    if gamma is not None:
        settings = replace(settings, gamma=gamma)
    chosen = None if evidence is None else tuple(evidence)
    options = AttributionOptions(evidence=chosen, resynthesis=settings)
    return LineupWorkload(engine, options, image)


def tell_cold_start(began: float) -> None:
    """Open the target that the first argument describes as JSON, run once, print what it took.

    Args:
        began: When the process ran its first line, by `time.time`.
    """
    imported = time.time()
    with open_workload(**json.loads(sys.argv[1])) as workload:
        opened = time.time()
        workload.run(0)
        ran = time.time()
    told = {
        "began": began,
        "import_ms": (imported - began) * 1e3,
        "open_ms": (opened - imported) * 1e3,
        "first_run_ms": (ran - opened) * 1e3,
    }
    sys.stdout.write(json.dumps(told) + "\n")


def synthetic_image(size_px: int) -> RgbImage:
    """Return an image of these sides, smooth and textured, so that JPEG-like paths are typical."""
    rng = np.random.default_rng(size_px)
    rows, columns = np.mgrid[0:size_px, 0:size_px] / size_px
    waves = np.stack([np.sin(7 * rows + 3 * columns + phase) for phase in (0, 2, 4)], axis=-1)
    noise = rng.normal(0, 8, (size_px, size_px, 3))
    return np.clip(127 + 90 * waves + noise, 0, 255).astype(np.uint8)


def _bundle_workload(bundle: Bundle, image: RgbImage, runtime: Runtime) -> Workload:
    """Open what a bundle's kind calls for."""
    # Each when it is measured: a cold start pays for no other.
    from lineup.fingerprint import FingerprintExtractor  # noqa: PLC0415
    from lineup.models.captioner import Captioner  # noqa: PLC0415
    from lineup.models.encoder import ImageEncoder  # noqa: PLC0415
    from lineup.models.generator import ImageGenerator  # noqa: PLC0415

    kind, path = bundle.manifest.kind, bundle.path
    if kind is BundleKind.FINGERPRINT:
        extractor = runtime.open(FingerprintExtractor, path)

        def fingerprints(_: int, count: int) -> dict[str, float]:
            start = time.perf_counter()
            tiles = [extractor.tiles(image) for _ in range(count)]
            between = time.perf_counter()
            extractor.fingerprints_from_tiles(tiles)
            end = time.perf_counter()
            return {"tiles": (between - start) * 1e3, "fingerprint": (end - between) * 1e3}

        return ModelWorkload(kind, "image", extractor, fingerprints)
    if kind is BundleKind.CAPTIONER:
        captioner = runtime.open(Captioner, path)
        work = _timed("caption", lambda count: captioner.captions([image] * count))
        return ModelWorkload(kind, "caption", captioner, work)
    if kind is BundleKind.ENCODER:
        encoder = runtime.open(ImageEncoder, path)
        work = _timed("encode", lambda count: encoder.features([image] * count))
        return ModelWorkload(kind, "image", encoder, work)
    generator = runtime.open(ImageGenerator, path)

    def images(first: int, count: int) -> dict[str, float]:
        trace = Trace()
        with trace.graphs_of(generator.trace):
            for seed in range(first, first + count):
                generator.images(PROMPT, [seed])
        return {name: 1e3 * cost.seconds for name, cost in trace.graphs.items()}

    return ModelWorkload(kind, "image", generator, images)


def _timed(stage: str, call: Callable[[int], object]) -> Callable[[int, int], dict[str, float]]:
    def work(_: int, count: int) -> dict[str, float]:
        start = time.perf_counter()
        call(count)
        return {stage: (time.perf_counter() - start) * 1e3}

    return work
