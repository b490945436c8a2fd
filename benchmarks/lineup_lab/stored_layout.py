"""Resyntheses that lie beside the images, as in the data set of arXiv 2510.24278.

DIR/<source>/<id>.png                           an image to attribute
DIR/<source>/images/<candidate>/<id>.jpg        what a candidate made of its description
DIR/<source>/images/<candidate>/<id>-<k>.jpg    the k-th of several
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from lineup.errors import UsageError
from lineup.files import sha256_from_bytes, sha256_from_file
from lineup.finding import find_images
from lineup.lineups.spec import CandidateSpec
from lineup.lineups.store import Lineup
from lineup.stored.store import StoredResyntheses, StoredSet
from lineup_lab.dataset import SourceFolder

PICTURES = "images"
"""Folder of a source's resyntheses, beside its images."""


class LaidOutResyntheses(StoredResyntheses):
    """The resyntheses of a folder; nothing is known of their captions.

    Args:
        root: Holds a folder per source.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._pictures: dict[tuple[str, str], list[Path]] = {}
        for path in find_images(sorted(root.glob(f"*/{PICTURES}/*"))):
            source, _, candidate = path.relative_to(root).parts[:3]
            self._pictures.setdefault((source, candidate), []).append(path)

    @property
    def candidates(self) -> tuple[str, ...]:
        """Who made any of them, by name."""
        return tuple(sorted({candidate for _, candidate in self._pictures}))

    def of_query(
        self, sha256: str, names: Sequence[str] | None = None
    ) -> dict[str, tuple[StoredSet, ...]]:
        """Return a set per candidate; see `StoredResyntheses.of_query`."""
        found = self._sets.get(sha256, {})
        return {name: found[name] for name in names or self.candidates if name in found}

    @property
    def revision(self) -> str:
        """Identity of the files, by name and size."""
        lines = [
            f"{path.relative_to(self.folder)} {path.stat().st_size}"
            for paths in self._pictures.values()
            for path in paths
        ]
        return sha256_from_bytes("\n".join(lines).encode())

    @cached_property
    def _sets(self) -> dict[str, dict[str, tuple[StoredSet, ...]]]:
        """Every set, by the hash of its query and by candidate."""
        by_stem: dict[tuple[str, str], dict[str, list[tuple[int, Path]]]] = {}
        queries = {source: _queries(self.folder / source) for source, _ in self._pictures}
        for (source, candidate), paths in self._pictures.items():
            for path in paths:
                stem, number = _place(path.stem, queries[source])
                pictures = by_stem.setdefault((source, stem), {}).setdefault(candidate, [])
                pictures.append((number, path))
        return {
            sha256_from_file(queries[source][stem]): {
                candidate: (StoredSet(candidate, "", tuple(path for _, path in sorted(pictures))),)
                for candidate, pictures in found.items()
            }
            for (source, stem), found in by_stem.items()
            if stem in queries[source]
        }


def stored_lineup(lineup: Lineup, laid_out: LaidOutResyntheses | None) -> Lineup:
    """Return a lineup that runs no generator: its candidates, or those of a folder, are stored.

    Raises:
        UsageError: It has no encoder.
    """
    spec = lineup.spec
    if spec.encoder is None:
        raise UsageError(
            f"The lineup {spec.name!r} has no encoder to compare resyntheses by.",
            hint="Name one that has: --lineup NAME.",
        )
    names = [one.name for one in spec.resynthesising] if laid_out is None else laid_out.candidates
    candidates = tuple(CandidateSpec(name, stored=True) for name in names)
    return replace(lineup, spec=replace(spec, captioner=None, candidates=candidates))


def without_pictures(folders: Sequence[SourceFolder], root: Path) -> tuple[SourceFolder, ...]:
    """Return the folders without what lies in their folders of resyntheses."""
    return tuple(
        SourceFolder(
            one.name,
            tuple(
                path for path in one.paths if not path.is_relative_to(root / one.name / PICTURES)
            ),
        )
        for one in folders
    )


def _queries(folder: Path) -> dict[str, Path]:
    inside = SourceFolder(folder.name, tuple(find_images([folder])))
    (queries,) = without_pictures([inside], folder.parent)
    return {path.stem: path for path in queries.paths}


def _place(stem: str, queries: dict[str, Path]) -> tuple[str, int]:
    """Return whose picture it is, and the how manieth."""
    head, _, tail = stem.rpartition("-")
    if stem not in queries and tail.isdecimal():
        return head, int(tail)
    return stem, 0
