"""Part 1: what the machine lacks, carried there in slices, put together by hash and installed.

`pack` and `take` need Python and pip alone: they run before anything is installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

SLICE_MIB = 57
"""Just below 60 MB."""

CARRIED = (
    "diffusers",
    "huggingface_hub",
    "importlib_metadata",
    "lazy-importer",
    "msgspec",
    "onnxruntime-gpu",
    "pi_heif",
    "platformdirs",
    "simplejpeg",
    "tokenizers",
    "transformers",
)
"""In the versions that are installed here, so that what was rehearsed is what runs. PyTorch, NumPy,
onnx and what they need are on the machine. Left out: c2pa-python, which is imported for files with
credentials alone, and optimum."""

PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
PIP = (sys.executable, "-m", "pip")
INDEX = "index.json"
CHUNK_BYTES = 2**20


def pack(target: Path, python: str, slice_mib: int) -> None:
    """Fetch the wheels, build ours, and write one folder a slice."""
    with tempfile.TemporaryDirectory() as folder:
        only = ["--no-deps", "--only-binary=:all:", "--implementation", "cp"]
        only += [f"--platform={name}" for name in PLATFORMS]
        named = [f"{name}=={version(name)}" for name in CARRIED]
        wheels = ["--quiet", "--dest", folder, *only, "--python-version", python, *named]
        subprocess.run([*PIP, "download", *wheels], check=True)
        ours = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder]
        subprocess.run([*PIP, "wheel", *ours, str(Path(__file__).parents[2])], check=True)
        folders = write_slices(sorted(Path(folder).glob("*.whl")), target, slice_mib * 2**20)
    for one in folders:
        print(f"{one}: {sum(file.stat().st_size for file in one.iterdir()) / 1e6:.1f} MB")


def write_slices(files: Sequence[Path], target: Path, slice_bytes: int) -> list[Path]:
    """Take files apart: a folder a slice, each with the index of all.

    Returns:
        The folders, in order.
    """
    shutil.rmtree(target, ignore_errors=True)
    slices, folders = [], []
    for number, data in enumerate(_pieces(files, slice_bytes)):
        name = f"slice-{number:02}"
        folders.append(target / name)
        folders[-1].mkdir(parents=True)
        (folders[-1] / name).write_bytes(data)
        slices.append({"name": name, "sha256": hashlib.sha256(data).hexdigest()})
    entries = [
        {"name": one.name, "size_bytes": one.stat().st_size, "sha256": _sha256(one)}
        for one in files
    ]
    for folder in folders:
        (folder / INDEX).write_text(json.dumps({"slices": slices, "files": entries}, indent=1))
    return folders


def _pieces(files: Sequence[Path], size_bytes: int) -> Iterator[bytes]:
    """Yield the files one after the other, in pieces of equal size but the last."""
    held = bytearray()
    for path in files:
        with path.open("rb") as file:
            while chunk := file.read(min(CHUNK_BYTES, size_bytes - len(held))):
                held += chunk
                if len(held) == size_bytes:
                    yield bytes(held)
                    held.clear()
    if held:
        yield bytes(held)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def take(folders: Sequence[Path], store: Path, site: Path) -> bool:
    """Keep slices; install the wheels once all are there.

    Args:
        folders: Slices as `pack` wrote them, in any order, in as many calls as it takes.
        store: Where slices and wheels are kept between calls.
        site: Folder to install into.

    Returns:
        Whether all are there and installed.

    Raises:
        SystemExit: A slice or file is not what the index says.
    """
    store.mkdir(parents=True, exist_ok=True)
    index: dict[str, Any] = json.loads((folders[0] / INDEX).read_text())
    for folder in folders:
        shutil.copyfile(folder / folder.name, store / folder.name)
    there = [one for one in index["slices"] if (store / one["name"]).exists()]
    for one in there:
        _check(store / one["name"], one)
    print(f"{len(there)} of {len(index['slices'])} slices")
    if len(there) < len(index["slices"]):
        return False
    wheels = _joined(index, store)
    install(wheels, site)
    return True


def _check(path: Path, said: Mapping[str, Any]) -> None:
    if (found := _sha256(path)) != said["sha256"]:
        path.unlink()
        sys.exit(
            f"Error: {path.name} has SHA-256 {found}, expected {said['sha256']}; send it again"
        )


def _joined(index: Mapping[str, Any], store: Path) -> list[Path]:
    """Write the files that the slices are of, and check them."""
    sources = (store / one["name"] for one in index["slices"])
    rest = b"".join(path.read_bytes() for path in sources)
    wheels, start = [], 0
    for said in index["files"]:
        path = store / said["name"]
        path.write_bytes(rest[start : start + said["size_bytes"]])
        start += said["size_bytes"]
        _check(path, said)
        wheels.append(path)
    return wheels


def install(wheels: Sequence[Path], site: Path) -> None:
    """Install wheels into a folder, without a network and without what they ask for."""
    alone = ["--quiet", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--upgrade"]
    subprocess.run([*PIP, "install", *alone, "--target", str(site), *map(str, wheels)], check=True)
    # ONNX Runtime looks for CUDA's libraries beside itself, where PyTorch's are not.
    nvidia = importlib.util.find_spec("nvidia")
    if nvidia is not None and nvidia.submodule_search_locations and not (site / "nvidia").exists():
        (site / "nvidia").symlink_to(next(iter(nvidia.submodule_search_locations)))
    print(f"installed; export PYTHONPATH={site}")


def imported() -> dict[str, Any]:
    """Import what later parts need; return where ONNX Runtime came from, and all versions."""
    import diffusers  # noqa: PLC0415 - heavy, and the order is that of a run
    import onnxruntime  # noqa: PLC0415
    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    found = {one.__name__: one.__version__ for one in (diffusers, onnxruntime, torch, transformers)}
    return {
        "versions": found,
        "onnxruntime_at": str(Path(onnxruntime.__file__).parent),
        "providers": onnxruntime.get_available_providers(),
        "torch_cuda": torch.version.cuda,
        "torch_sees": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }


def probed(device: str) -> dict[str, Any]:
    """Run a graph of one node on the device.

    Raises:
        DeviceUnavailableError: It is not really there.
    """
    from lineup.backends.opening import options_for_device  # noqa: PLC0415 - installed by `take`

    place, _ = options_for_device(device, 0)
    return {"device": str(place)}
