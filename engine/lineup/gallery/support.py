"""Support sets: reference fingerprints of one source, checked and immutable."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType

import numpy as np

from lineup.channels import CLEAN
from lineup.errors import GalleryError
from lineup.results import RESERVED_NAMES
from lineup.types import Float32Array, HalfArray

NORM_TOLERANCE = 1e-3
"""Largest |norm - 1| of a fingerprint; float32 rounding of a normalised row stays far below it."""

FINGERPRINTS, STRENGTHS, EMBEDDINGS = "fingerprints", "strengths", "embeddings"
"""What is known of an image in a channel: its fingerprint, the whitened spectrum's length, and,
with the identity of the encoder behind a hyphen, the embedding."""

_NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ID_PATTERN = re.compile(r"[0-9a-f]{64}")

REAL_NAME = "real"
"""What a source, a folder or a class of photographs is called; no verdict is."""


class SourceRole(str, Enum):
    """What a source stands for."""

    CANDIDATE = "candidate"
    """A generator that a query can be attributed to."""

    REAL = "real"
    """Photographs; never named."""


@dataclass(frozen=True, slots=True, eq=False)
class SupportSet:
    """Reference fingerprints of one source.

    Attributes:
        name: 1 to 64 of `A-Za-z0-9._-`, starting with a letter or digit; none of
            `RESERVED_NAMES`, and "real" only with the real role.
        role: Generator or photographs.
        fingerprints: Shape (N, D), dtype float32, rows L2-normalised, N and D at least 1;
            a read-only copy is kept.
        ids: Hex SHA-256 of the file each row was made from; unique, in row order.
        provenance: Where the images came from, for people; one line, white space collapsed.
        views: What else the models say of each image, a row each, under `<channel>/<what>`:
            `fingerprints` of other channels than the clean one, `strengths` (N,) and embeddings of
            all (`view_key`); float16, as they are stored: they are many.
        names: Names of the images' files, for people, in row order; "" where it is not known. None
            at all where nobody kept them.

    Raises:
        GalleryError: A rule above is broken.
    """

    name: str
    role: SourceRole
    fingerprints: Float32Array
    ids: tuple[str, ...]
    provenance: str = ""
    views: Mapping[str, HalfArray] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_source_name(self.name, self.role)
        check_fingerprints(self.fingerprints, f"source {self.name!r}")
        self._check_ids()
        self._check_views()
        provenance = " ".join(self.provenance.split())
        if not provenance.isprintable():  # it is printed, and galleries of strangers are read too
            raise GalleryError(
                f"source {self.name!r}: the provenance has control characters: {provenance!r}"
            )
        object.__setattr__(self, "provenance", provenance)
        if self.fingerprints.flags.writeable:
            frozen = self.fingerprints.copy()
            frozen.setflags(write=False)
            object.__setattr__(self, "fingerprints", frozen)
        views = {key: self.views[key] for key in sorted(self.views)}
        object.__setattr__(self, "views", MappingProxyType(views))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dimension(self) -> int:
        """Length of one fingerprint."""
        return int(self.fingerprints.shape[1])

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that there are fingerprints of, the clean one first."""
        ending = f"/{FINGERPRINTS}"
        further = [key.removesuffix(ending) for key in self.views if key.endswith(ending)]
        return (CLEAN, *further)

    def seen_through(self, channel: str) -> Float32Array:
        """Return the fingerprints of one of `channels`, (N, D)."""
        if channel == CLEAN:
            return self.fingerprints
        return self.views[view_key(channel)].astype(np.float32)

    def has_embeddings(self, key: str) -> bool:
        """Tell whether there are those of one encoder (`ReferenceEncoder.key`) in every channel."""
        return all(view_key(channel, key) in self.views for channel in self.channels)

    @property
    def is_embedded(self) -> bool:
        """Whether there are embeddings, for the reference evidence."""
        return any(key.partition("/")[2].startswith(EMBEDDINGS) for key in self.views)

    @property
    def stored_bytes(self) -> int:
        """Bytes on disk: half precision, and the hashes."""
        elements = self.fingerprints.size + sum(rows.size for rows in self.views.values())
        return 2 * elements + 32 * len(self)

    @property
    def coherence(self) -> float | None:
        """Mean cosine over all pairs of different images, -1..1; None for one image.

        The higher, the more alike the fingerprints. |sum z|^2 is the sum over all ordered pairs, n
        of which are an image with itself.
        """
        count = len(self)
        if count < 2:
            return None
        total = self.fingerprints.sum(axis=0, dtype=np.float64)
        own = float(np.square(self.fingerprints, dtype=np.float64).sum())
        return (float(total @ total) - own) / (count * (count - 1))

    def merged_with(self, other: SupportSet) -> SupportSet:
        """Return the union with another set of the same source; of equal ids, this set's row stays.

        Of the views, those that both have stay.

        Raises:
            GalleryError: Name, role or dimension differ.
        """
        if self.name != other.name:
            raise GalleryError(f"sources {self.name!r} and {other.name!r} cannot become one set")
        if self.role is not other.role:
            raise role_mismatch(self.name, self.role, other.role)
        if self.dimension != other.dimension:
            raise GalleryError(
                f"source {self.name!r} has fingerprints of dimension {self.dimension} here and "
                f"{other.dimension} in the gallery to merge"
            )
        parts = (*self.provenance.split("; "), *other.provenance.split("; "))
        provenance = "; ".join(dict.fromkeys(part for part in parts if part))
        fresh = other.without_images(self.ids)
        if fresh is None:
            return replace(self, provenance=provenance)
        nameless = ("",) * len(self), ("",) * len(fresh)
        names = (*(self.names or nameless[0]), *(fresh.names or nameless[1]))
        return replace(
            self,
            fingerprints=np.concatenate([self.fingerprints, fresh.fingerprints]),
            ids=self.ids + fresh.ids,
            provenance=provenance,
            views={
                key: np.concatenate([rows, fresh.views[key]])
                for key, rows in self.views.items()
                if key in fresh.views
            },
            names=names if any(names) else (),
        )

    def without_images(self, ids: Iterable[str]) -> SupportSet | None:
        """Return the set without the images of these ids; None when nothing is left."""
        known = set(ids)
        rows = [row for row, image_id in enumerate(self.ids) if image_id not in known]
        if not rows:
            return None
        return self.of_rows(rows)

    def of_rows(self, rows: Sequence[int]) -> SupportSet:
        """Return the set of some of the images, by their row."""
        chosen = list(rows)
        return replace(
            self,
            fingerprints=self.fingerprints[chosen],
            ids=tuple(self.ids[row] for row in chosen),
            views={key: values[chosen] for key, values in self.views.items()},
            names=tuple(self.names[row] for row in chosen) if self.names else (),
        )

    def _check_views(self) -> None:
        for key, rows in self.views.items():
            what = key.rpartition("/")[2]
            width = (self.dimension,) if what == FINGERPRINTS else rows.shape[1:]
            expected = (len(self),) if what == STRENGTHS else (len(self), *width)
            if rows.dtype != np.float16 or rows.shape != expected:
                raise GalleryError(
                    f"source {self.name!r}, {key}: expected float16 of the shape {expected}, got "
                    f"{rows.dtype} {rows.shape}"
                )

    def _check_ids(self) -> None:
        owner, count = f"source {self.name!r}", len(self.fingerprints)
        if len(self.names) not in {0, count}:
            raise GalleryError(f"{owner}: {count} images, but {len(self.names)} names of files")
        if len(self.ids) != count:
            raise GalleryError(
                f"{owner}: {count} fingerprints need {count} ids, got {len(self.ids)}"
            )
        for image_id in self.ids:
            if not isinstance(image_id, str) or not _ID_PATTERN.fullmatch(image_id):
                raise GalleryError(f"{owner}: {image_id!r} is not the hex SHA-256 of an image file")
        if len(set(self.ids)) != count:
            raise GalleryError(
                f"{owner}: {count} ids, but only {len(set(self.ids))} different ones"
            )


def view_key(channel: str, what: str = FINGERPRINTS) -> str:
    """Return the key of `SupportSet.views` for what is known of a channel."""
    return f"{channel}/{what}"


def check_source_name(name: str, role: SourceRole | None = None) -> None:
    """Check the name of a source, and that it suits its role.

    Raises:
        GalleryError: The name breaks the rules of `SupportSet.name`.
    """
    if not isinstance(name, str) or not _NAME_PATTERN.fullmatch(name):
        raise GalleryError(
            f"{name!r} cannot name a source",
            hint="Use 1 to 64 letters, digits, dots, underscores or hyphens, "
            "starting with a letter or digit.",
        )
    if name.lower() in RESERVED_NAMES:
        raise GalleryError(
            f"{name!r} cannot name a source: answers say it where they name none",
            hint="Choose another name.",
        )
    is_exact = name == REAL_NAME and role is SourceRole.REAL
    if role is not None and name.lower() == REAL_NAME and not is_exact:
        raise GalleryError(
            f"{name!r} cannot name a {role.value} source: 'real' is kept for photographs",
            hint="Choose another name, or enrol photographs as 'real' with the role real.",
        )


def check_fingerprints(fingerprints: Float32Array, owner: str) -> None:
    """Check shape, dtype and norm of fingerprints; `owner` names them in the error.

    Raises:
        GalleryError: Not float32 (N, D) with N, D >= 1, or a row is not finite with norm 1.
    """
    if not isinstance(fingerprints, np.ndarray) or fingerprints.dtype != np.float32:
        got = getattr(fingerprints, "dtype", type(fingerprints).__name__)
        raise GalleryError(f"{owner}: fingerprints must be a float32 array, got {got}")
    if fingerprints.ndim != 2 or 0 in fingerprints.shape:
        raise GalleryError(
            f"{owner}: fingerprints must have the shape (images, dimension), both at least 1, "
            f"got {fingerprints.shape}"
        )
    bad = unusable_rows(fingerprints)
    if bad:
        raise GalleryError(f"{owner}: fingerprints must be finite with norm 1, row {bad[0]} is not")


def unusable_rows(fingerprints: Float32Array) -> list[int]:
    """Return the rows of (N, D) fingerprints that are not finite with norm 1."""
    with np.errstate(all="ignore"):  # NaN and infinity are found below, not warned about
        norms = np.linalg.norm(fingerprints, axis=1)
    usable = np.abs(norms - 1.0) <= NORM_TOLERANCE  # false for NaN too
    return [int(row) for row in np.flatnonzero(~usable)]


def role_mismatch(name: str, present: SourceRole, got: SourceRole) -> GalleryError:
    """Return the error for images that join the source `name` in another role."""
    return GalleryError(
        f"source {name!r} is in the gallery with the role {present.value}, not {got.value}",
        hint=f"Enrol the images again under another name, or with --role {present.value}.",
    )
