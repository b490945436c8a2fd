"""What the models of a lineup cost: as measured on this machine, or as their manifests say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from lineup.backends.building import device_of_bundle, device_of_graph
from lineup.backends.device import OPENVINO_KINDS, Device, DeviceKind
from lineup.backends.measured import measured_on
from lineup.backends.opening import uses_arena
from lineup.bundles.bundle import Bundle
from lineup.bundles.manifest import BundleKind, GraphCost
from lineup.errors import BundleFormatError
from lineup.fingerprint import DEFAULT_BUNDLE as DEFAULT_FINGERPRINT
from lineup.lineups.store import Lineup
from lineup.machine import usable_cores
from lineup.models.encoder import CPU_RUNS_AT_ONCE, CUT_TOWER, WHOLE_TOWER
from lineup.resynthesis.cascade import PlannedTimes
from lineup.runtime import Runtime

CPU = Device(DeviceKind.CPU)

CAPTION_STEPS = 16
"""Tokens of a typical caption; the decoder runs once per token."""


class Stage(str, Enum):
    """What a model does for a query, in the order of the work."""

    FINGERPRINT = "fingerprint"
    CAPTION = "caption"
    RESYNTHESISE = "resynthesise"
    ENCODE = "encode"


@dataclass(frozen=True, slots=True)
class Phase:
    """One graph's part of a model whose graphs can take turns.

    Attributes:
        mapped_bytes: Weights that stay in their files.
        loaded_bytes: Private memory of the loaded graph.
        activation_bytes: Private memory of a run that goes back to the system after it.
    """

    mapped_bytes: int
    loaded_bytes: int
    activation_bytes: int


@dataclass(frozen=True, slots=True)
class ModelCost:
    """What one model costs.

    Runs of large graphs take their memory from the arena that all models share
    (`lineup.backends.onnxrt.ARENA_BYTES`): what one of them needed stays with the process.

    Attributes:
        name: Name of its bundle.
        stage: What it does for a query.
        mapped_bytes: Weights that stay in their files.
        loaded_bytes: Private memory of its loaded graphs.
        activation_bytes: Largest private memory, beside the arena, of a run on one image.
        run_ms: Time for one item: a caption, a resynthesis, a feature.
        blobs: Names of its weight files; models that share one share its pages.
        arena_bytes: What a run on one image needs of the arena.
        runs_at_once: Runs that work side by side, on one image each.
        phases: Its graphs, where they can take turns over a chunk of items; empty where an item
            needs all of them.
    """

    name: str
    stage: Stage
    mapped_bytes: int
    loaded_bytes: int
    activation_bytes: int
    run_ms: float
    blobs: frozenset[tuple[str, int]]
    arena_bytes: int = 0
    runs_at_once: int = 1
    phases: tuple[Phase, ...] = ()

    @property
    def staged_mapped_bytes(self) -> int:
        """Weights that stay in their files, of the graphs that have to be loaded together."""
        return max((one.mapped_bytes for one in self.phases), default=self.mapped_bytes)

    def staged_bytes(self, images: int) -> int:
        """Return the private memory, beside the arena, of the graphs that are needed together."""
        if self.phases:
            return max(one.loaded_bytes + one.activation_bytes for one in self.phases)
        return self.loaded_bytes + self.run_bytes(images)

    def run_bytes(self, images: int) -> int:
        """Return the memory, beside the arena, of its runs when so many images wait for it."""
        return min(images, self.runs_at_once) * self.activation_bytes

    def run_arena_bytes(self, images: int) -> int:
        """Return what its runs need of the arena when so many images wait for it."""
        return min(images, self.runs_at_once) * self.arena_bytes


_STAGE_FROM_KIND = {
    BundleKind.FINGERPRINT: Stage.FINGERPRINT,
    BundleKind.CAPTIONER: Stage.CAPTION,
    BundleKind.GENERATOR: Stage.RESYNTHESISE,
    BundleKind.ENCODER: Stage.ENCODE,
}

_RUNS_AT_ONCE = {
    BundleKind.FINGERPRINT: usable_cores(),
    BundleKind.ENCODER: CPU_RUNS_AT_ONCE,
}
"""Captions and resyntheses are made one by one."""


def cost_from_bundle(bundle: Bundle, device: Device = CPU) -> ModelCost:
    """Return what a model costs in the way a verdict uses it.

    Raises:
        BundleFormatError: A graph's cost on the device was not measured.
    """
    manifest = bundle.manifest
    runs = runs_per_item(bundle)
    known = graph_costs(bundle, device)
    costs = {role: known[role] for role in runs}
    arena = {role for role in runs if uses_arena(bundle, role, device)}
    in_arena = [costs[role] for role in arena]
    phases = tuple(
        Phase(
            mapped_bytes=_mapped_bytes(_blobs(bundle, role, device)),
            loaded_bytes=cost.loaded_bytes,
            activation_bytes=0 if role in arena else cost.activation_bytes,
        )
        for role, cost in costs.items()
    )
    blobs = frozenset().union(*(_blobs(bundle, role, device) for role in runs))
    return ModelCost(
        name=manifest.name,
        stage=_STAGE_FROM_KIND[manifest.kind],
        mapped_bytes=_mapped_bytes(blobs),
        loaded_bytes=sum(one.loaded_bytes for one in phases),
        activation_bytes=max(one.activation_bytes for one in phases),
        arena_bytes=max((one.activation_bytes for one in in_arena), default=0),
        run_ms=sum(count * costs[role].run_ms for role, count in runs.items()),
        blobs=blobs,
        runs_at_once=_RUNS_AT_ONCE.get(manifest.kind, 1),
        phases=phases if manifest.kind is BundleKind.GENERATOR else (),
    )


def costs_from_lineup(lineup: Lineup, runtime: Runtime) -> tuple[ModelCost, ...]:
    """Return the models of a lineup, in the order of the work.

    Raises:
        BundleError: A bundle is absent or altered, or tells no costs.
    """
    found = [runtime.bundle(one) for one in references(lineup)]
    return tuple(cost_from_bundle(one, runtime.place_of(one)[0]) for one in found)


def graph_costs(bundle: Bundle, device: Device = CPU) -> dict[str, GraphCost]:
    """Return what the graphs of a bundle cost, as measured here or, on the CPU, where exported.

    Of GPUs nothing is known: the CPU stands for them.

    Raises:
        BundleFormatError: That was not measured.
    """
    device = device if device.kind in OPENVINO_KINDS else CPU
    device = device_of_bundle(bundle.manifest, device)
    here = measured_on(bundle).get(device)
    if here is not None:
        return here.graphs
    costs = {role: graph.cost for role, graph in bundle.manifest.graphs.items()}
    told = {role: cost for role, cost in costs.items() if cost is not None}
    if device != CPU or len(told) < len(costs):
        option = "" if device == CPU else f" --device {device}"
        raise BundleFormatError(
            f"{bundle.path}: its costs on {device} are not known; memory cannot be planned.",
            hint=f"Measure them on this machine: lineup models measure {bundle.manifest.name}"
            f"{option}",
        )
    return told


def _blobs(bundle: Bundle, role: str, device: Device) -> frozenset[tuple[str, int]]:
    """Return the weight files that runs read; OpenVINO packs them into private memory once."""
    if device_of_graph(bundle.manifest, role, device).kind in OPENVINO_KINDS:
        return frozenset()
    weights = bundle.manifest.graphs[role].weights
    return frozenset((record.sha256, record.size_bytes) for record in weights)


def _mapped_bytes(blobs: frozenset[tuple[str, int]]) -> int:
    return sum(size for _, size in blobs)


def references(lineup: Lineup) -> list[str | Path]:
    """Return the bundles of a lineup, in the order of the work."""
    spec = lineup.spec
    models = (
        spec.fingerprint or DEFAULT_FINGERPRINT,
        spec.captioner,
        *(candidate.bundle for candidate in spec.candidates),
        spec.encoder,
    )
    return [lineup.bundle(one) for one in models if one is not None]


def runs_per_item(bundle: Bundle) -> dict[str, float]:
    """Return how often each graph that a verdict needs runs for one item."""
    manifest = bundle.manifest
    if manifest.kind is BundleKind.ENCODER:
        return {CUT_TOWER if CUT_TOWER in manifest.graphs else WHOLE_TOWER: 1}
    if manifest.kind is BundleKind.CAPTIONER:
        return {"vision_encoder": 1, "text_decoder": CAPTION_STEPS}
    if manifest.kind is BundleKind.GENERATOR:
        assert manifest.generation is not None
        steps = manifest.generation.steps
        halves = 2 if manifest.generation.guidance > 1 else 1
        text = {encoder.role: 0.0 for encoder in manifest.generation.text_encoders}
        return {**text, "unet": steps * halves, "vae_decoder": 1}
    return dict.fromkeys(manifest.graphs, 1)


def planned_times(lineup: Lineup, runtime: Runtime) -> PlannedTimes | None:
    """Return the times of a lineup's models; None where the costs of one are not known.

    Raises:
        BundleError: A bundle is absent, or its manifest cannot be read.
    """
    spec = lineup.spec
    looks = (spec.fingerprint or DEFAULT_FINGERPRINT, spec.encoder)
    try:
        return PlannedTimes(
            caption_ms=_run_ms(lineup, spec.captioner, runtime),
            resynthesis_ms={
                one.name: _run_ms(lineup, one.bundle, runtime) for one in spec.generators
            },
            look_ms=sum(_run_ms(lineup, one, runtime) for one in looks),
        )
    except BundleFormatError:
        return None


def _run_ms(lineup: Lineup, reference: str | None, runtime: Runtime) -> float:
    if reference is None:
        return 0.0
    # Files are not verified: who opens the lineup does that, and hashing takes seconds.
    bundle = runtime.unverified_bundle(lineup.bundle(reference))
    return cost_from_bundle(bundle, runtime.place_of(bundle)[0]).run_ms
