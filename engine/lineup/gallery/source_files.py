"""The content-addressed files of a gallery folder, one per source."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load as tensors_from_bytes
from safetensors.numpy import save as bytes_from_tensors

from lineup import files
from lineup.errors import GalleryError
from lineup.gallery.codec import support_from_tensors, tensors_from_support
from lineup.gallery.gallery import SupportSet
from lineup.gallery.manifest import SourceRecord

TENSOR_ERRORS = (SafetensorError, OSError, ValueError, KeyError, TypeError, OverflowError)
"""What safetensors and NumPy raise on a malformed file."""


def write_source(folder: Path, support: SupportSet) -> SourceRecord:
    """Write one support set under a name made from its content; return its manifest record.

    Raises:
        OSError: The file cannot be written.
    """
    data = bytes_from_tensors(tensors_from_support(support))
    sha256 = files.sha256_from_bytes(data)
    # Dots are replaced because Windows reserves names like "con.anything".
    file = f"{support.name.replace('.', '_')}-{sha256[:12]}.safetensors"
    files.write_atomic(folder / file, data)
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return SourceRecord(support.role, file, sha256, len(support), support.provenance, now)


def read_source(folder: Path, name: str, record: SourceRecord, dimension: int) -> SupportSet:
    """Read and verify the support set that a manifest record describes.

    Args:
        folder: Where the files lie.
        name: Name of the source.
        record: Its manifest record.
        dimension: Length of one fingerprint, from the manifest.

    Raises:
        FileNotFoundError: The file does not exist.
        GalleryError: The file cannot be read, or is not what the record says.
    """
    path = folder / record.file
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise GalleryError(f"cannot read {path}: {error.strerror}") from error
    if files.sha256_from_bytes(data) != record.sha256:
        raise GalleryError(
            f"{path} was altered or damaged: its SHA-256 is not the one in the manifest",
            hint=f"Restore the file, or remove the source (lineup gallery remove {name}) and "
            "enrol its images again.",
        )
    try:
        tensors = tensors_from_bytes(data)
    except TENSOR_ERRORS as error:
        raise GalleryError(f"{path} is not a valid safetensors file: {error}") from error
    support = support_from_tensors(
        tensors, name=name, role=record.role, provenance=record.provenance, owner=str(path)
    )
    if (len(support), support.dimension) != (record.count, dimension):
        raise GalleryError(
            f"{path} holds {len(support)} fingerprints of dimension {support.dimension}, "
            f"the manifest says {record.count} of {dimension}"
        )
    return support


def delete_files_except(folder: Path, keep: set[str]) -> None:
    """Delete every file of `folder` whose name is not in `keep`, as far as that is possible."""
    for path in folder.glob("*"):
        if path.name in keep:
            continue
        try:
            path.unlink()
        except OSError:
            continue  # open in another process on Windows; the next change gets it
