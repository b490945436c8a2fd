"""What a gallery says of itself: the fingerprint that made it, and one record per source.

A gallery folder has it as manifest.json, a gallery in one file as metadata.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated

from msgspec import Meta

from lineup.documents import DocumentFormat
from lineup.errors import GalleryError
from lineup.gallery.gallery import DIGEST_PATTERN, SourceRole, check_source_name


@dataclass(frozen=True, slots=True)
class FingerprintRecord:
    """The fingerprint bundle that made every row of a gallery.

    Attributes:
        name: Name of the bundle, for people.
        digest: Identity of the bundle's content.
        dimension: Length of one fingerprint.
    """

    name: str
    digest: Annotated[str, Meta(pattern=rf"^{DIGEST_PATTERN}\Z")]
    dimension: Annotated[int, Meta(ge=1)]


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One source of a gallery.

    Attributes:
        role: Generator or photographs.
        count: Number of fingerprints.
        sha256: Hex SHA-256 of the source's file; in a gallery of one file, of its two tensors.
        provenance: Where the images came from, for people.
        updated: Time of the last change, UTC, ISO 8601; None in a gallery of one file.
        file: File name inside `sources/`; None in a gallery of one file.
    """

    role: SourceRole
    count: Annotated[int, Meta(ge=1)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    provenance: str = ""
    updated: str | None = None
    # No separator in it, so that a manifest cannot point outside of its folder.
    file: (
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}-[0-9a-f]{12}\.safetensors\Z")] | None
    ) = None


@dataclass(frozen=True, slots=True)
class GalleryManifest:
    """What a gallery holds.

    Attributes:
        fingerprint: The bundle that made every row.
        sources: Record per source name, sorted by name.
    """

    fingerprint: FingerprintRecord
    sources: Mapping[str, SourceRecord]

    def __post_init__(self) -> None:
        ordered = {name: self.sources[name] for name in sorted(self.sources)}
        object.__setattr__(self, "sources", MappingProxyType(ordered))

    def with_sources(self, changed: Mapping[str, SourceRecord]) -> GalleryManifest:
        """Return a copy in which the `changed` records replace or join the present ones."""
        return replace(self, sources={**self.sources, **changed})

    def without_source(self, name: str) -> GalleryManifest:
        """Return a copy without one source."""
        return replace(self, sources={key: r for key, r in self.sources.items() if key != name})


def _contradictions(manifest: GalleryManifest) -> Iterator[str]:
    texts = {"fingerprint.name": manifest.fingerprint.name}
    for name, record in manifest.sources.items():
        try:
            check_source_name(name, record.role)
        except GalleryError as error:
            yield f"sources: {error.message}"
        texts |= {
            f"sources.{name}.provenance": record.provenance,
            f"sources.{name}.updated": record.updated or "",
        }
    # They are printed to a terminal, and galleries of strangers are read too.
    for field, text in texts.items():
        if not text.isprintable():
            yield f"{field}: has control characters: {text!r:.80}"


GALLERY_MANIFEST = DocumentFormat(
    GalleryManifest,
    GalleryError,
    "Copy the gallery again, or enrol its images again.",
    contradictions=_contradictions,
)
