"""Parts 4 and 5: an image and a scan against diffusers, in time and memory; what copies cost."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import Self

from _models import GENERATORS
from _peers import Peer, run_peer
from _record import quantiles_ms, times_ms
from attribution import agreement, generators_of, peers_of_point, rows_from_file
from gpu.steps import Place, Step
from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt_runners import OrtDeviceArray
from lineup.backends.opening import runner_from_bundle
from lineup.bundles.bundle import open_bundle
from lineup.machine import Watch
from lineup.planning.measuring import native_feeds
from lineup.types import AnyArray
from scan_profile import draw_images
from synthesis import OURS, PROMPT, REFERENCE, image_errors, peer_from_name, write_latents

GENERATOR = GENERATORS[0]
WITHOUT_GRAPHS = f"{OURS}, no CUDA graphs"
COMPILED = "diffusers fp16 compiled"
PEERS = {REFERENCE: 30, OURS: 50, WITHOUT_GRAPHS: 50, "diffusers fp16": 40, COMPILED: 150}
"""Who makes an image, and the seconds that they may take. All are compared with the first."""

SCANS = {"lineup scan": 60, "PyTorch script": 80}
COPIED = {"unet": 60, "vae_decoder": 60}
SIZE_PX, TINY_PX = 512, 64
IMAGES, CANDIDATES = 64, 3
REPEAT = 100
MATTERS = 0.05
"""Share of a run from which on copies are worth an effort."""


class CardWatch(Watch):
    """Follows how much of the first card's memory is in use, by whatever process.

    Attributes:
        used_mib: What came to be in use since the start, at most; None where there is no card.
    """

    def __init__(self) -> None:
        import torch  # noqa: PLC0415 - its own context on the card is part of the start

        super().__init__(0.01, can_sample=torch.cuda.is_available())
        self._look = torch.cuda.mem_get_info
        self._used_bytes: list[int] = []

    @property
    def used_mib(self) -> float | None:
        """The highest look less the first."""
        used = self._used_bytes
        return (max(used) - used[0]) / 2**20 if used else None

    def __enter__(self) -> Self:
        if self._can_sample:
            self._sample()  # before anything is started
        return super().__enter__()

    def _sample(self) -> bool:
        free, total = self._look()
        self._used_bytes.append(total - free)
        return True


def speed_steps(place: Place) -> list[Step]:
    """Return part 4."""
    images = [Step(name, seconds, partial(drawn, place, name)) for name, seconds in PEERS.items()]
    return images + [
        Step(f"{name}, {IMAGES} x {CANDIDATES}", seconds, partial(scanned, place, name))
        for name, seconds in SCANS.items()
    ]


def watched(peer: Peer, request: Mapping[str, Any]) -> dict[str, Any]:
    """Run a peer; return what it told, with the memory that it took of the card.

    Raises:
        RuntimeError: It failed; says how.
    """
    with CardWatch() as card:
        run = run_peer(peer, request)
    if "error" in run:
        raise RuntimeError(run["error"])
    return {**run, "peak_card_mib": card.used_mib}


def drawn(place: Place, name: str) -> dict[str, Any]:
    """Let a peer make the same image many times."""
    size_px, folder = TINY_PX if place.is_rehearsal else SIZE_PX, place.work / "images"
    folder.mkdir(parents=True, exist_ok=True)
    images = {one: folder / f"{index}.npy" for index, one in enumerate(PEERS)}
    # No compiler is needed to try it out; "reduce-overhead" records CUDA graphs, as we do.
    how = {"backend": "eager"} if place.is_rehearsal else {"mode": "reduce-overhead"}
    own = {"image": str(images[name]), "cuda_graphs": name != WITHOUT_GRAPHS}
    own |= {"compile": how} if name == COMPILED else {}
    request = {
        "prompt": PROMPT,
        "seed": 0,
        "latents": write_latents(folder, size_px, 0),
        "size_px": size_px,
        "repeat": 1 if place.is_rehearsal else REPEAT,
        "device": place.device,
        "threads": 0,
    }
    run = watched(peer_from_name(name, place.models, **own), request)
    times = quantiles_ms([seconds * 1e3 for seconds in run.pop("runs_s")])
    errors = image_errors({REFERENCE: images[REFERENCE], name: images[name]}, REFERENCE)
    return {"image": times, "against": REFERENCE, "image_error": errors.get(name), **run}


def scanned(place: Place, name: str) -> dict[str, Any]:
    """Let a program attribute images by candidates; compare both when both have."""
    count, candidates = (2, 2) if place.is_rehearsal else (IMAGES, CANDIDATES)
    size_px, folder = TINY_PX if place.is_rehearsal else SIZE_PX, place.work / "scan"
    (folder / "images").mkdir(parents=True, exist_ok=True)
    paths = draw_images(folder / "images", [size_px], count)
    asked = argparse.Namespace(
        device=place.device, size=size_px, layer="final", order="stage-major",
        memory_budget=None, ours_only=False,
    )  # fmt: skip
    named = generators_of(candidates, distinct=False)
    peers = peers_of_point(place.models, named, folder, asked)
    request = {"images": [str(path) for path in paths], "threads": 0, "device": place.device}
    run = watched(next(peer for peer in peers if peer.name == name), request)
    rows = [rows_from_file(Path(peer.request["rows"])) for peer in peers]
    return {**run, "images_per_s": count / run["scan_s"], "agreement": agreement(*rows)}


def copy_steps(place: Place) -> list[Step]:
    """Return part 5."""
    return [Step(role, seconds, partial(copied, place, role)) for role, seconds in COPIED.items()]


def copied(place: Place, role: str) -> dict[str, Any]:
    """Time a graph on arrays of the host and of the card, and the copies by themselves."""
    bundle = open_bundle(place.models.bundle(GENERATOR))
    feeds = native_feeds(bundle.manifest, role, 1)
    repeat = 2 if place.is_rehearsal else REPEAT
    with runner_from_bundle(bundle, role, Device(DeviceKind.CUDA)) as runner:
        names = [spec.name for spec in runner.outputs]
        outputs = runner.run(feeds)
        memory = runner._memory  # type: ignore[attr-defined]
        resident = {}
        for key, array in feeds.items():
            value = memory.empty(array.shape, array.dtype)
            value.update_inplace(array)
            resident[key] = OrtDeviceArray(value, array.dtype, memory)
        ms = {
            "CUDA graph, host to host": median_ms(lambda: runner.run(feeds), repeat),
            "host to card": median_ms(lambda: runner.run_resident(feeds, names), repeat),
            "card to card": median_ms(lambda: runner.run_resident(resident, names), repeat),
        }
    copies = {
        kind: sum(copy_ms(one, repeat, pinned=kind == "pinned") for one in moved)
        for kind in ("pageable", "pinned")
        for moved in [(*feeds.values(), *outputs.values())]
    }
    share = copies["pageable"] / ms["CUDA graph, host to host"]
    return {"run_ms": ms, "copies_ms": copies, "share": share, "copies_matter": share >= MATTERS}


def median_ms(work: Callable[[], object], repeat: int) -> float:
    """Return the median of warm runs."""
    for _ in range(3):  # seen, recorded, replayed
        work()
    return quantiles_ms(times_ms(work, repeat))["median_ms"]


def copy_ms(array: AnyArray, repeat: int, *, pinned: bool) -> float:
    """Return the median time of moving an array's bytes to the card or back, half of both."""
    import torch  # noqa: PLC0415 - after the graphs, which find CUDA's libraries without it

    there = "cuda" if torch.cuda.is_available() else "cpu"
    host = torch.from_numpy(np.zeros(array.nbytes, np.uint8))
    host = host.pin_memory() if pinned and there == "cuda" else host
    card = torch.empty_like(host, device=there)

    def both() -> None:
        card.copy_(host, non_blocking=True)
        host.copy_(card, non_blocking=True)
        if there == "cuda":
            torch.cuda.synchronize()

    return median_ms(both, repeat) / 2
