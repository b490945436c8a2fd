"""The engine cache: one per graph, release, GPU, precision and shapes; never reused stale."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lineup.backends.tensorrt.api import Api
from lineup.backends.tensorrt.options import BuildOptions, Profile
from lineup.bundles.bundle import Bundle
from lineup.bundles.external import structure_digest
from lineup.errors import BackendError
from lineup.files import sha256_from_bytes, sha256_from_file, staged_directory

logger = logging.getLogger(__name__)

PLAN_NAME = "engine.plan"
RECORD_NAME = "engine.json"
KEY_DIGITS = 20


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything that an engine depends on.

    Attributes:
        graph: SHA-256 of the ONNX file, whose external data is named by content; for a plan
            without weights the digest of its structure alone.
        refittable: Whether the plan is without weights.
        backend: The TensorRT product.
        version: Its release; a plan of another one is stale.
        compute_capability: Of the GPU, e.g. "8.6".
        precision: Of the bundle.
        profile: Shortest, optimal and longest shape per input.
        flags: Further options that change the plan.
    """

    graph: str
    refittable: bool
    backend: str
    version: str
    compute_capability: str
    precision: str
    profile: Profile
    flags: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Name of the engine in the cache: hex digits that change with any of the fields."""
        return sha256_from_bytes(_canonical(self).encode())[:KEY_DIGITS]


@dataclass(frozen=True, slots=True)
class CachedEngine:
    """An engine in the cache.

    Attributes:
        key: What it was built for.
        path: The plan.
        size_bytes: Size of the plan.
        build_seconds: What building it took.
        bundle: Name of the bundle it was first built for.
        role: Its graph in that bundle.
    """

    key: EngineKey
    path: Path
    size_bytes: int
    build_seconds: float
    bundle: str
    role: str


def key_from_bundle(
    bundle: Bundle,
    role: str,
    api: Api,
    options: BuildOptions,
    profile: Profile,
    compute_capability: str,
) -> EngineKey:
    """Return the key of one graph of a bundle, built with these options."""
    graph = bundle.manifest.graphs[role]
    flags = {
        "weight-streaming": options.weight_streaming,
        "version-compatible": options.version_compatible,
        "hardware-compatible": options.hardware_compatible,
        f"workspace-{options.workspace_mib}-mib": options.workspace_mib is not None,
    }
    return EngineKey(
        graph=structure_digest(bundle.graph_path(role))
        if options.refittable
        else graph.file.sha256,
        refittable=options.refittable,
        backend=api.flavour.value,
        version=api.version,
        compute_capability=compute_capability,
        precision=bundle.manifest.precision.value,
        profile=profile,
        flags=tuple(name for name, is_set in flags.items() if is_set),
    )


class EngineCache:
    """A folder of engines, one folder each: the plan, and a record of what it was built for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, key: EngineKey) -> CachedEngine | None:
        """Return the engine for exactly this key, verified; None when it has to be built.

        A folder whose record tells of another key, or whose plan is damaged, is not used.
        """
        engine = self._read(self.folder / key.digest)
        if engine is None or _canonical(engine.key) != _canonical(key):
            return None
        return engine

    def for_graph(
        self, bundle: Bundle, role: str, api: Api, capability: str
    ) -> CachedEngine | None:
        """Return the engine of a graph that takes the largest runs; None when there is none."""
        graph = bundle.manifest.graphs[role]
        structure = structure_digest(bundle.graph_path(role))
        fitting = [
            engine
            for engine in self.list()
            if engine.key.graph == (structure if engine.key.refittable else graph.file.sha256)
            and engine.key.backend == api.flavour.value
            and engine.key.version == api.version
            and engine.key.compute_capability == capability
        ]
        return max(fitting, key=_largest_run, default=None)

    def list(self) -> Iterator[CachedEngine]:
        """Yield every sound engine, by name of its folder."""
        folders = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        for folder in folders:
            engine = self._read(folder)
            if engine is not None:
                yield engine

    def write(
        self, key: EngineKey, plan: Any, *, build_seconds: float, bundle: str, role: str
    ) -> CachedEngine:
        """Put an engine into the cache, in the place of a stale one.

        Args:
            key: What it was built for.
            plan: Serialised engine; anything that `memoryview` reads.
            build_seconds: What building it took.
            bundle: Name of the bundle it was built for.
            role: Its graph in that bundle.

        Raises:
            BackendError: The cache cannot be written, e.g. the disk is full.
        """
        folder = self.folder / key.digest
        try:
            shutil.rmtree(folder, ignore_errors=True)
            with staged_directory(folder) as staging, memoryview(plan) as content:
                path = staging / PLAN_NAME
                with path.open("wb") as stream:
                    stream.write(content)
                record = {
                    "key": asdict(key),
                    "plan": {"sha256": sha256_from_file(path), "size_bytes": content.nbytes},
                    "build_seconds": round(build_seconds, 3),
                    "bundle": bundle,
                    "role": role,
                }
                (staging / RECORD_NAME).write_text(json.dumps(record, indent=1), "utf-8")
        except OSError as error:
            raise BackendError(
                f"{folder}: the engine cannot be kept: {error.strerror or error}",
                hint="Make room, or set LINEUP_HOME to a folder with more.",
            ) from error
        engine = self.find(key)
        assert engine is not None
        return engine

    def _read(self, folder: Path) -> CachedEngine | None:
        try:
            raw = json.loads((folder / RECORD_NAME).read_text("utf-8"))
            plan = folder / PLAN_NAME
            is_sound = sha256_from_file(plan) == raw["plan"]["sha256"]
            if not is_sound:
                logger.warning("%s is damaged and will be built again", plan)
                return None
            return CachedEngine(
                key=_key_from_record(raw["key"]),
                path=plan,
                size_bytes=int(raw["plan"]["size_bytes"]),
                build_seconds=float(raw["build_seconds"]),
                bundle=str(raw["bundle"]),
                role=str(raw["role"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None  # absent, or written by something else: not an engine of ours


def _key_from_record(raw: dict[str, Any]) -> EngineKey:
    profile = {
        name: (tuple(shapes[0]), tuple(shapes[1]), tuple(shapes[2]))
        for name, shapes in raw["profile"].items()
    }
    return EngineKey(**{**raw, "profile": profile, "flags": tuple(raw["flags"])})


def _largest_run(engine: CachedEngine) -> int:
    return max(math.prod(longest) for _, _, longest in engine.key.profile.values())


def _canonical(key: EngineKey) -> str:
    return json.dumps(asdict(key), sort_keys=True)
