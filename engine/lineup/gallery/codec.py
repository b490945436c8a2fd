"""How a support set is stored: half-precision fingerprints and binary ids in safetensors.

Half precision halves the gallery and costs nothing that can be seen: one element is off by at most
2^-11 of its value, so the cosine of two stored fingerprints is off by less than 1e-3 (about 1e-5
at some thousand dimensions; a test measures it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from lineup.errors import GalleryError
from lineup.gallery.gallery import SourceRole, SupportSet
from lineup.types import AnyArray, Float32Array

HalfArray = npt.NDArray[np.float16]
IdRows = npt.NDArray[np.uint8]

ID_BYTES = 32
FINGERPRINTS = "fingerprints"
IDS = "ids"

_FIXED_POINT_STEPS = 8
_STORED_NORM_TOLERANCE = 1e-2


def half_from_fingerprints(fingerprints: Float32Array) -> HalfArray:
    """Return fingerprints rounded to float16 such that reading and storing again changes nothing.

    Reading renormalises, which can push an element over a rounding boundary; rounding the
    renormalised rows until they stay put makes a gallery's identity survive any number of copies.

    Args:
        fingerprints: Shape (N, D), float32, rows of norm 1.

    Returns:
        Shape (N, D), little-endian float16.
    """
    half = fingerprints.astype("<f2")
    for _ in range(_FIXED_POINT_STEPS):
        again = fingerprints_from_half(half).astype("<f2")
        if np.array_equal(again, half):
            break
        half = again
    return half


def fingerprints_from_half(half: HalfArray) -> Float32Array:
    """Return stored rows as float32 with norm 1; shape (N, D) stays."""
    wide = half.astype(np.float64)  # sums in float64: the same bits on every processor
    norms = np.sqrt(np.square(wide).sum(axis=1, keepdims=True))
    fingerprints: Float32Array = (wide / norms).astype(np.float32)
    return fingerprints


def tensors_from_support(support: SupportSet) -> dict[str, AnyArray]:
    """Return the tensors to store: `fingerprints` (N, D) float16 and `ids` (N, 32) uint8."""
    return {
        FINGERPRINTS: half_from_fingerprints(support.fingerprints),
        IDS: id_rows_from_ids(support.ids),
    }


def support_from_tensors(
    tensors: Mapping[str, AnyArray], *, name: str, role: SourceRole, provenance: str, owner: str
) -> SupportSet:
    """Return the support set of stored tensors.

    Args:
        tensors: What `tensors_from_support` returned.
        name: Name of the source.
        role: Role of the source.
        provenance: Provenance of the source.
        owner: The file, for errors.

    Raises:
        GalleryError: A tensor is missing or malformed.
    """
    missing = {FINGERPRINTS, IDS} - set(tensors)
    if missing:
        raise GalleryError(f"{owner}: source {name!r} lacks the tensor {sorted(missing)[0]!r}")
    half, id_rows = tensors[FINGERPRINTS], tensors[IDS]
    _check_stored(half, id_rows, f"{owner}: source {name!r}")
    fingerprints = fingerprints_from_half(half)
    fingerprints.setflags(write=False)
    return SupportSet(name, role, fingerprints, ids_from_id_rows(id_rows), provenance)


def id_rows_from_ids(ids: Sequence[str]) -> IdRows:
    """Return hex SHA-256 strings as an array of shape (N, 32), uint8."""
    joined = np.frombuffer(bytes.fromhex("".join(ids)), np.uint8)
    return joined.reshape(len(ids), ID_BYTES)


def ids_from_id_rows(rows: IdRows) -> tuple[str, ...]:
    """Return an array of shape (N, 32), uint8, as hex SHA-256 strings."""
    return tuple(row.tobytes().hex() for row in rows)


def _check_stored(half: AnyArray, id_rows: AnyArray, owner: str) -> None:
    if half.dtype != np.float16 or half.ndim != 2 or 0 in half.shape:
        raise GalleryError(
            f"{owner}: fingerprints must be float16 of the shape (images, dimension), "
            f"got {half.dtype} {half.shape}"
        )
    if id_rows.dtype != np.uint8 or id_rows.shape != (len(half), ID_BYTES):
        raise GalleryError(
            f"{owner}: ids must be uint8 of the shape ({len(half)}, {ID_BYTES}), "
            f"got {id_rows.dtype} {id_rows.shape}"
        )
    # Wider than for float32: rounding to float16 moves the norm by up to 2^-11.
    with np.errstate(all="ignore"):  # NaN and infinity are found below, not warned about
        norms = np.linalg.norm(half.astype(np.float32), axis=1)
    if not np.all(np.abs(norms - 1.0) <= _STORED_NORM_TOLERANCE):
        raise GalleryError(f"{owner}: fingerprints must be finite with norm 1")
