"""Parts 2 and 3: models are exported on the machine; CUDA has to compute what the CPU computes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnxruntime as ort

import lineup
from _models import CAPTIONER, ENCODER, GENERATORS
from attribution import write_lineup
from device_errors import feeds_of
from gpu.steps import Place, Step
from lineup.backends import onnxrt
from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt import RuntimeOptions, session_options_from
from lineup.backends.onnxrt_runners import BoundRunner, DeviceMemory
from lineup.backends.opening import runner_from_bundle
from lineup.bundles.bundle import Bundle, open_bundle
from lineup.models.captioner import Captioner, CaptionOptions
from lineup.options import AttributionOptions, ResynthesisOptions
from lineup.paths import shipped_dir
from lineup.reading import read_image
from lineup.results import FINGERPRINT, RESYNTHESIS, Verdict
from lineup.types import AnyArray, RgbImage
from lineup_export.component import TOLERANCES
from lineup_export.parity import max_relative_error
from scan_profile import draw_images

GENERATOR = GENERATORS[0]
MODELS = (GENERATOR, CAPTIONER, ENCODER)
SHIPPED_FINGERPRINT = "whitened-spectrum"
GRAPHS = {
    GENERATOR: {"text_encoder": 20, "unet": 60, "vae_decoder": 60, "vae_encoder": 40},
    CAPTIONER: {"vision_encoder": 15, "text_decoder": 15},
    ENCODER: {"image_tower": 25, "image_tower_cut": 15},
    SHIPPED_FINGERPRINT: {"fingerprint": 10},
}
"""Every graph, and the seconds that it may take: twice loaded on the card, once on the CPU."""

CPU, CUDA = Device(DeviceKind.CPU), Device(DeviceKind.CUDA)
REPLAY_TOLERANCE = 1e-2
"""Of a replayed or bound run against a plain one on the card, which may choose other kernels."""

LOG_PROBABILITY_TOLERANCE = 0.05
SCORE_TOLERANCE = 0.02
IMAGE_SIDE_PX = 512
BEAMS = (1, 3)
CAPTION_TOKENS = 12

Outputs = Mapping[str, AnyArray]


def export_steps(place: Place) -> list[Step]:
    """Return part 2: models are exported by `lineup export`, which proves their parity."""
    return [
        Step("bundles", 200, partial(exported, place), leaves_files=True),
        Step("weights for PyTorch", 90, partial(saved_for_torch, place), leaves_files=True),
    ]


def exported(place: Place) -> dict[str, Any]:
    """Export the models that are not there, at the same time; return sizes and parity."""
    figures = {}
    for name, path in zip(MODELS, side_by_side(place.models.bundle), strict=True):
        manifest = open_bundle(path).manifest
        parity = {role: graph.parity.value for role, graph in manifest.graphs.items()}
        figures[name] = {"size_bytes": manifest.size_bytes, "max_relative_error_to_torch": parity}
    return figures


def saved_for_torch(place: Place) -> dict[str, Any]:
    """Save the same weights for diffusers and transformers."""
    return {"folders": [path.name for path in side_by_side(place.models.peer)]}


def side_by_side(made: Callable[[str], Path]) -> list[Path]:
    """Make something of every model, in processes that run at the same time."""
    with ThreadPoolExecutor() as threads:
        return list(threads.map(made, MODELS))


@contextmanager
def host_for_cuda() -> Iterator[None]:
    """Let "cuda" be the CPU: the runners of the GPU, bound to the memory of the host."""

    def session(graph: str | bytes) -> ort.InferenceSession:
        settings = session_options_from(RuntimeOptions(), CPU)
        return ort.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])

    memory = DeviceMemory("cpu", 0, lambda: session(onnxrt._ROWS_GRAPH))
    real = onnxrt.runner_from_onnx

    def opened(path: Path, device: Device, options: RuntimeOptions) -> Any:
        if device.kind is not DeviceKind.CUDA:
            return real(path, device, options)
        return BoundRunner(session(str(path)), memory, records=options.cuda_graphs)

    with ExitStack() as patches:
        for name, other in (("runner_from_onnx", opened), ("probe_device", lambda _: None)):
            patches.enter_context(mock.patch(f"lineup.backends.opening.{name}", other))
        yield


def correctness_steps(place: Place) -> list[Step]:
    """Return part 3."""
    graphs = [
        Step(f"{name} {role}", seconds, partial(compared_graph, place, name, role))
        for name, roles in GRAPHS.items()
        for role, seconds in roles.items()
    ]
    captions = [
        Step(f"captions, beam {beams}", 40, partial(compared_captions, place, beams))
        for beams in BEAMS
    ]
    return [*graphs, *captions, Step("attribute", 90, partial(compared_verdict, place))]


def bundle_of(place: Place, name: str) -> Bundle:
    """Open a model, or the shipped fingerprint."""
    if name == SHIPPED_FINGERPRINT:
        return open_bundle(shipped_dir() / "bundles" / name)
    return open_bundle(place.models.bundle(name))


def compared_graph(place: Place, name: str, role: str) -> dict[str, Any]:
    """Compare a graph on the card with the same on the CPU, however it is run there."""
    bundle = bundle_of(place, name)
    inputs = feeds_of(bundle, role)
    others = {key: np.ascontiguousarray(np.flip(value)) for key, value in inputs.items()}
    with runner_from_bundle(bundle, role, CPU) as runner:
        expected = [runner.run(feeds) for feeds in (inputs, others)]
    with runner_from_bundle(bundle, role, CUDA, RuntimeOptions(cuda_graphs=False)) as runner:
        plain = [runner.run(feeds) for feeds in (inputs, others)]
        names = [spec.name for spec in runner.outputs]
        left = runner.run_resident(inputs, names)
        resident = {key: value.to_host() for key, value in left.items()}  # type: ignore[union-attr]
        left.clear()
    with runner_from_bundle(bundle, role, CUDA) as runner:
        # Seen, recorded, replayed from the same buffers with other values.
        graphs = [runner.run(feeds) for feeds in (inputs, inputs, others)]
        recorded = len(runner._recordings)  # type: ignore[attr-defined]
    tolerance = TOLERANCES[bundle.manifest.precision]
    errors = {
        "cuda": max(map(error, plain, expected)),
        "bound": error(resident, plain[0]),
        "cuda_graph": max(map(error, graphs, (plain[0], *plain))),
    }
    within = errors["bound"] <= REPLAY_TOLERANCE >= errors["cuda_graph"]
    return {
        "max_relative_error": errors,
        "tolerance": tolerance,
        "recorded": recorded,
        "passes": errors["cuda"] <= tolerance and within,
    }


def error(found: Outputs, expected: Outputs) -> float:
    """Return the largest error of an output, relative to the largest element expected."""
    return max(max_relative_error(found[name], expected[name]) for name in expected)


def queries(side_px: int, count: int) -> list[RgbImage]:
    """Return pictures with the spectrum of photographs."""
    with tempfile.TemporaryDirectory() as folder:
        paths = draw_images(Path(folder), [side_px], count)
        return [read_image(path).pixels for path in paths]


def compared_captions(place: Place, beams: int) -> dict[str, Any]:
    """Compare captions whose caches stay on the card with captions of the CPU."""
    bundle = bundle_of(place, CAPTIONER)
    most = bundle.manifest.captioner.max_tokens  # type: ignore[union-attr]
    options = CaptionOptions(beams, max_tokens=min(CAPTION_TOKENS, most))
    images = queries(IMAGE_SIDE_PX // (4 if place.is_rehearsal else 1), 3)
    found = []
    for device in (CPU, CUDA):
        with Captioner(bundle, device, RuntimeOptions()) as captioner:
            found.append(captioner.captions(images, options))
    pairs = list(zip(*found, strict=True))
    gap = max(abs(one.log_probability - other.log_probability) for one, other in pairs)
    same = sum(one.token_ids == other.token_ids for one, other in pairs)
    # Random weights: two words may be as likely as each other, and half precision may swap them.
    return {
        "same_tokens": same,
        "captions": len(pairs),
        "max_log_probability_gap": gap,
        "passes": gap <= LOG_PROBABILITY_TOLERANCE,
    }


def compared_verdict(place: Place) -> dict[str, Any]:
    """Attribute an image end to end on the card, and on the CPU by the card's caption."""
    image = queries(IMAGE_SIDE_PX, 1)[0]
    with tempfile.TemporaryDirectory() as folder:
        spec = write_lineup(place.models, {"candidate": GENERATOR}, Path(folder))
        found = verdict_on("cuda", spec, image, prompt=None)
        expected = verdict_on("cpu", spec, image, prompt=found.caption)
    gaps = [
        abs(score - other.scores[source])
        for one, other in zip(found.evidence, expected.evidence, strict=True)
        for source, score in one.scores.items()
    ]
    return {
        "verdicts": [found.label, expected.label],
        "evidence": [one.name for one in found.evidence],
        "max_score_gap": max(gaps),
        "passes": max(gaps) <= SCORE_TOLERANCE,
    }


def verdict_on(device: str, spec: Path, image: RgbImage, prompt: str | None) -> Verdict:
    """Return the engine's answer, nothing cached."""
    drawn = ResynthesisOptions(gamma=1, prompt=prompt)
    options = AttributionOptions(evidence=(FINGERPRINT, RESYNTHESIS), resynthesis=drawn)
    with lineup.open(spec, device=device, cache=False) as engine:
        verdict = engine.attribute(image, options=options).verdict
    assert verdict is not None
    return verdict
