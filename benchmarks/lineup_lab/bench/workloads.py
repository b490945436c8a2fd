"""What is measured: one repeatable piece of work per kind of bundle, and a whole verdict."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lineup.bundles.manifest import BundleKind
from lineup.errors import BundleNotFoundError
from lineup.runtime import Runtime
from lineup.trace import Trace
from lineup.types import RgbImage

if TYPE_CHECKING:
    from lineup.engine import Engine
    from lineup.options import AttributionOptions
    from lineup.results import Attribution

PROMPT = "a large red ball left of two small blue cubes on a meadow in the evening"


Work = Callable[[int, int], Mapping[str, float]]
"""Does so many pieces from a first index on; returns milliseconds per stage, summed over them."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A loaded model with one piece of work.

    Attributes:
        name: What is measured.
        kind: "fingerprint", "captioner", "encoder", "generator" or "lineup".
        unit: What one piece of work makes, e.g. "image".
        digest: Identity of what is measured.
        device: Where it runs.
        work: What may be drawn from a seed is drawn from a piece's index.
    """

    name: str
    kind: str
    unit: str
    digest: str
    device: str
    work: Work


@contextmanager
def open_workload(
    target: str,
    *,
    size_px: int = 512,
    device: str = "auto",
    threads: int = 0,
    evidence: list[str] | None = None,
    gamma: int | None = None,
) -> Iterator[Workload]:
    """Open, for a `with` block, a bundle or, where no bundle has that name, a lineup.

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
        kind = bundle.manifest.kind
        model, work = _opened(kind, bundle.path, image, runtime)
        unit = "caption" if kind is BundleKind.CAPTIONER else "image"
        with model:
            device = str(model.device)
            yield Workload(model.name, kind.value, unit, model.digest, device, work)
        return
    # Here, because a bundle needs none of it.
    from lineup.engine import open_engine  # noqa: PLC0415
    from lineup.options import AttributionOptions  # noqa: PLC0415

    with open_engine(target, device=device, threads=threads, cache=False) as engine:
        settings = engine.lineup.spec.resynthesis
        if gamma is not None:
            settings = replace(settings, gamma=gamma)
        chosen = None if evidence is None else tuple(evidence)
        options = AttributionOptions(evidence=chosen, resynthesis=settings)
        yield Workload(
            name=engine.lineup.spec.name,
            kind="lineup",
            unit="verdict",
            digest=engine.run_id(options),
            device=str(engine.extractor.device),
            work=_verdicts(engine, options, image),
        )


def tell_cold_start(began: float) -> None:
    """Open the target that the first argument describes as JSON, run once, print what it took.

    Args:
        began: When the process ran its first line, by `time.time`.
    """
    imported = time.time()
    with open_workload(**json.loads(sys.argv[1])) as workload:
        opened = time.time()
        workload.work(0, 1)
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


def _verdicts(engine: Engine, options: AttributionOptions, image: RgbImage) -> Work:
    """Attribute the image, nothing taken from the cache."""

    def work(_: int, count: int) -> dict[str, float]:
        total: dict[str, float] = {}
        for _ in range(count):
            for name, ms in _stages(engine.attribute(image, options=options)).items():
                total[name] = total.get(name, 0.0) + ms
        return total

    return work


def _stages(done: Attribution) -> dict[str, float]:
    inference_ms = done.ms.inference or 0.0
    stages = {"tiles": done.ms.preprocess or 0.0, "fuse": done.ms.fuse or 0.0}
    if done.resyntheses is None:
        return stages | {"fingerprint": inference_ms}
    cost = done.resyntheses.trace.ms
    return stages | cost | {"query fingerprint and comparison": inference_ms - sum(cost.values())}


def _opened(kind: BundleKind, path: Path, image: RgbImage, runtime: Runtime) -> tuple[Any, Work]:
    """Return the model that a bundle's kind calls for, and its work."""
    # Each when it is measured: a cold start pays for no other.
    from lineup.fingerprint import FingerprintExtractor  # noqa: PLC0415
    from lineup.models.captioner import Captioner  # noqa: PLC0415
    from lineup.models.encoder import ImageEncoder  # noqa: PLC0415
    from lineup.models.generator import ImageGenerator  # noqa: PLC0415

    if kind is BundleKind.FINGERPRINT:
        extractor = runtime.open(FingerprintExtractor, path)

        def fingerprints(_: int, count: int) -> dict[str, float]:
            start = time.perf_counter()
            tiles = [extractor.tiles(image) for _ in range(count)]
            between = time.perf_counter()
            extractor.fingerprints_from_tiles(tiles)
            end = time.perf_counter()
            return {"tiles": (between - start) * 1e3, "fingerprint": (end - between) * 1e3}

        return extractor, fingerprints
    if kind is BundleKind.CAPTIONER:
        captioner = runtime.open(Captioner, path)
        return captioner, _timed("caption", lambda count: captioner.captions([image] * count))
    if kind is BundleKind.ENCODER:
        encoder = runtime.open(ImageEncoder, path)
        return encoder, _timed("encode", lambda count: encoder.features([image] * count))
    generator = runtime.open(ImageGenerator, path)

    def images(first: int, count: int) -> dict[str, float]:
        trace = Trace()
        with trace.graphs_of(generator.trace):
            for seed in range(first, first + count):
                generator.images(PROMPT, [seed])
        return {name: 1e3 * cost.seconds for name, cost in trace.graphs.items()}

    return generator, images


def _timed(stage: str, call: Callable[[int], object]) -> Work:
    def work(_: int, count: int) -> dict[str, float]:
        start = time.perf_counter()
        call(count)
        return {stage: (time.perf_counter() - start) * 1e3}

    return work
