"""The gallery in memory: the support sets of every known source, checked and immutable."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from zlib import crc32

import numpy as np

from lineup.errors import GalleryError, SourceNotFoundError, did_you_mean
from lineup.gallery.support import SourceRole, SupportSet
from lineup.text import short_digest

DIGEST_PATTERN = r"[A-Za-z0-9:._-]{1,128}"


@dataclass(frozen=True, eq=False)
class Gallery:
    """All support sets made with one fingerprint bundle. Two galleries are equal by `digest`.

    Attributes:
        fingerprint_digest: Identity of the fingerprint bundle that made every row.
        sources: Support set per name, sorted by name; may be empty.
        fingerprint_name: Name of that bundle, for people; not part of the identity.
        others: Further generators, which no answer names: they show what others' images are like.

    Raises:
        GalleryError: The digest is malformed, a key is not its set's name, or dimensions differ.
    """

    fingerprint_digest: str
    sources: Mapping[str, SupportSet]
    fingerprint_name: str = ""
    others: tuple[SupportSet, ...] = ()

    def __post_init__(self) -> None:
        check_fingerprint_digest(self.fingerprint_digest)
        for name, support in self.sources.items():
            if name != support.name:
                raise GalleryError(f"source {support.name!r} is filed under the name {name!r}")
        dimensions = {support.dimension for support in (*self.sources.values(), *self.others)}
        if len(dimensions) > 1:
            raise GalleryError(
                f"fingerprints of one gallery need one dimension, these have {sorted(dimensions)}"
            )
        ordered = {name: self.sources[name] for name in sorted(self.sources)}
        object.__setattr__(self, "sources", MappingProxyType(ordered))

    @property
    def dimension(self) -> int | None:
        """Length of one fingerprint; None for an empty gallery."""
        return next((support.dimension for support in self.sources.values()), None)

    @property
    def candidates(self) -> tuple[SupportSet, ...]:
        """Sources with the candidate role, sorted by name."""
        return tuple(s for s in self.sources.values() if s.role is SourceRole.CANDIDATE)

    @property
    def reals(self) -> tuple[SupportSet, ...]:
        """Sources with the real role, sorted by name."""
        return tuple(s for s in self.sources.values() if s.role is SourceRole.REAL)

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 of the content, whatever the order and the batches it was enrolled in.

        Fingerprints enter as float16, the precision they are stored in, so that storing a gallery
        or reading it on another processor does not change its identity. Provenance is left out.
        """
        digest = hashlib.sha256(f"{self.fingerprint_digest}\n".encode())
        others = ((f"other {one.name}", one) for one in self.others)
        for name, support in (*self.sources.items(), *others):
            digest.update(f"{name}\n{support.role.value}\n{len(support)}\n".encode())
            order = sorted(range(len(support)), key=support.ids.__getitem__)
            for row in order:
                digest.update(bytes.fromhex(support.ids[row]))
            digest.update(np.ascontiguousarray(support.fingerprints[order].astype("<f2")).data)
            for key, rows in support.views.items():
                data = np.ascontiguousarray(rows[order].astype("<f2")).data
                digest.update(f"{key}\n{crc32(data)}\n".encode())
        return digest.hexdigest()

    def source(self, name: str) -> SupportSet:
        """Return one support set.

        Raises:
            SourceNotFoundError: The gallery has no such source; lists those it has.
        """
        try:
            return self.sources[name]
        except KeyError:
            raise source_not_found(name, self.sources) from None

    def merged_with(self, other: Gallery) -> Gallery:
        """Return the union of both galleries, deduplicated by image id in each source.

        Raises:
            GalleryError: The galleries were made with different fingerprints, or a source has
                different roles in them.
        """
        if other.fingerprint_digest != self.fingerprint_digest:
            raise fingerprint_mismatch(
                "the gallery to merge", other.fingerprint_digest, self.fingerprint_digest
            )
        merged = dict(self.sources)
        for name, support in other.sources.items():
            merged[name] = merged[name].merged_with(support) if name in merged else support
        return replace(self, sources=merged)


def check_fingerprint_digest(digest: str) -> None:
    """Check the identity of a fingerprint bundle.

    Raises:
        GalleryError: It is not 1 to 128 of `A-Za-z0-9:._-`.
    """
    if not isinstance(digest, str) or not re.fullmatch(DIGEST_PATTERN, digest):
        raise GalleryError(f"{digest!r} is not the digest of a fingerprint bundle")


def fingerprint_mismatch(what: str, got: str, expected: str) -> GalleryError:
    """Return the error for fingerprints of another bundle; `what` names where they come from."""
    found, wanted = short_digest(got), short_digest(expected)
    return GalleryError(
        f"{what} was made with the fingerprint {found}, expected {wanted}",
        hint="Fingerprints of different bundles cannot be compared: enrol the images again with "
        f"the fingerprint {wanted} into an empty gallery (lineup enroll NAME PATHS... "
        "--gallery DIR), or choose the other bundle with --fingerprint.",
    )


def source_not_found(name: str, known: Mapping[str, object]) -> SourceNotFoundError:
    """Return the error for a name that is not among the `known` sources."""
    there_are = f"there are: {', '.join(known)}." if known else "there is none yet."
    return SourceNotFoundError(
        f"the gallery has no source {name!r}; {there_are}",
        hint=did_you_mean(name, known) or "Add one with lineup enroll NAME PATHS...",
    )
