"""From a dataset of files to one of rows: actors that each own an engine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineup._version import __version__
from lineup.engine import open_engine
from lineup.errors import LineupError, UnreadableImageError, require_extra
from lineup.lineups.store import Lineup, open_lineup
from lineup.options import DEFAULT_OPTIONS, AttributionOptions
from lineup.paths import HOME_VARIABLE
from lineup.ray.kit import Kit, kit_from_engine
from lineup.results import FINGERPRINT
from lineup.scan.arrow import row_schema, table_from_records
from lineup.scan.pipeline import is_same_content, rows_from_group
from lineup.stream import (
    DEFAULT_STREAM,
    FileInMemory,
    ImageReader,
    StreamedImage,
    StreamOptions,
    groups_from_stream,
)

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.fs import FileSystem
    from ray.data import Dataset

BLOCK_IMAGES = 64
"""Images of a task: what is done again when an actor dies."""

ON_NVIDIA = ("cuda", "tensorrt")


@dataclass(frozen=True, slots=True)
class Asked:
    """What every actor answers.

    Attributes:
        kit: What its engine opens.
        options: Which evidence, and how.
        reading: Limits and groups.
        run: Identity of the question; an engine that gives another one is refused.
        version: Of lineup; so is one of another version.
        stores: File systems, by the column `store`.
    """

    kit: Kit
    options: AttributionOptions
    reading: StreamOptions
    run: str
    version: str = __version__
    stores: tuple[FileSystem, ...] = ()


def attribute_dataset(
    ds: Dataset,
    lineup: str | Path | Lineup | None = None,
    *,
    options: AttributionOptions = DEFAULT_OPTIONS,
    reading: StreamOptions = DEFAULT_STREAM,
    num_cpus: float = 1,
    num_gpus: float = 0,
    concurrency: int | tuple[int, int] | None = None,
    **engine: Any,
) -> Dataset:
    """Return the rows of images (`lineup.scan.arrow.row_schema`), in no order of theirs.

    Whatever is wrong with an image is told in its row. A task whose actor or node dies is done
    again; its rows are there once.

    Args:
        ds: Column `path`, of files that every node can read; or `path` and `bytes`, as
            `ray.data.read_binary_files(..., include_paths=True)` gives them.
        lineup: See `lineup.engine.open_engine`.
        options: Which evidence, and how.
        reading: Limits and groups.
        num_cpus: Of an actor; its engine takes as many threads, at least one.
        num_gpus: Of an actor, e.g. 0.5; with device="cuda".
        concurrency: Actors, or least and most; None is 1 to as many as the cluster holds.
        engine: What `lineup.engine.open_engine` takes beside the lineup.

    Raises:
        MissingExtraError: Ray is not installed.
        LineupError: The engine cannot be opened here, to say which run this is.
    """
    require_extra("ray", ["ray", "pyarrow"])
    found = lineup if isinstance(lineup, Lineup) else open_lineup(lineup)
    engine = {**engine, "threads": max(1, int(num_cpus))}
    asked = asked_from_engine(found, engine, options, reading)
    return rows_from_files(ds, asked, num_cpus, num_gpus, concurrency)


def asked_from_engine(
    lineup: Lineup, engine: Mapping[str, Any], options: AttributionOptions, reading: StreamOptions
) -> Asked:
    """Return what actors are to answer; the engine's files are in the object store then.

    Raises:
        LineupError: The engine cannot be opened here, to say which run this is.
    """
    here = dict(engine)
    if str(engine.get("device", "auto")).startswith(ON_NVIDIA):
        here["device"] = "cpu"  # nothing is computed here, where there may be no GPU
    with open_engine(lineup, **here) as opened:
        run = opened.run_id(options)
    return Asked(kit_from_engine(lineup, engine), options, reading, run)


def rows_from_files(
    files: Dataset,
    asked: Asked,
    num_cpus: float,
    num_gpus: float,
    concurrency: int | tuple[int, int] | None = None,
) -> Dataset:
    """Return the rows of files; see `attribute_dataset`."""
    return files.map_batches(
        Attributor,
        fn_constructor_args=(asked,),
        batch_format="pyarrow",
        batch_size=BLOCK_IMAGES,
        num_cpus=num_cpus,
        num_gpus=num_gpus or None,
        concurrency=concurrency or (1, actors_of_cluster(num_cpus, num_gpus)),
    )


def actors_of_cluster(num_cpus: float, num_gpus: float) -> int:
    """Return how many actors the cluster holds now, at least 1."""
    import ray  # noqa: PLC0415 - an extra

    there = ray.cluster_resources()
    shares = [("CPU", num_cpus), ("GPU", num_gpus)]
    return max(1, min(int(there.get(name, 0) / one) for name, one in shares if one))


class Attributor:
    """An engine in an actor; Ray calls it with batches.

    Args:
        asked: What it answers.

    Raises:
        LineupError: This node has another lineup, or its engine gives other rows.
    """

    def __init__(self, asked: Asked) -> None:
        if asked.version != __version__:
            raise LineupError(
                f"This node has lineup {__version__}, the driver {asked.version}.",
                hint="Install the same version on all nodes.",
            )
        home = asked.kit.unpacked()
        os.environ[HOME_VARIABLE] = str(home)  # this process is the actor's own
        lineup, engine = asked.kit.opened_with(home)
        self._asked = asked
        self._engine = open_engine(lineup, **engine)
        run = self._engine.run_id(asked.options)
        if run != asked.run:
            raise LineupError(
                f"The engine of this node answers run {run}, the driver's {asked.run}.",
                hint="Install the same packages on all nodes.",
            )
        self._done: dict[str, bytes | None] = {}
        self._reader = ImageReader(
            self._engine.extractor,
            asked.reading,
            is_known=lambda path, sha256: is_same_content(self._done.get(str(path)), sha256),
            keep_pixels=set(self._engine.evidence_of(asked.options)) != {FINGERPRINT},
            origin=asked.options.origin,
        )

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        """Return the rows of a batch; images that are done already have none."""
        asked = self._asked
        names: dict[str, str] = {}
        self._done.clear()
        rows = [
            replace(row, path=names[row.path or ""]).to_dict()
            for group in groups_from_stream(self._images(batch, names), asked.reading)
            for row in rows_from_group(group, self._engine, asked.options, asked.run)
        ]
        return table_from_records(rows) if rows else row_schema().empty_table()

    def _images(self, batch: pyarrow.Table, names: dict[str, str]) -> Iterator[StreamedImage]:
        """Yield the images of a batch; `names` gets each one's path as it was named."""
        for item in batch.to_pylist():
            name = os.fsdecode(item["path"])
            path = Path(name)
            names[str(path)] = name
            self._done[str(path)] = item.get("done")
            image = self._image(path, item)
            if image is not None:
                yield image

    def _image(self, path: Path, item: Mapping[str, Any]) -> StreamedImage | None:
        data = item.get("bytes")
        if data is None and item.get("store") is not None:
            try:
                data = self._fetched(item["store"], item["location"])
            except Exception as error:
                if is_same_content(item.get("done"), None):
                    return None
                return StreamedImage(path).failed(_unreadable(item["path"], error))
        return self._reader.image_from_file(path if data is None else FileInMemory(path, data))

    def _fetched(self, store: int, location: str) -> bytes:
        limits = self._asked.reading.limits
        with self._asked.stores[store].open_input_file(location) as stream:
            limits.check_bytes(stream.size())
            data: bytes = stream.read()
        return data


def _unreadable(name: str | bytes, error: Exception) -> Exception:
    if isinstance(error, LineupError):
        return error
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return UnreadableImageError(f"{os.fsdecode(name)} cannot be read: {reason}")
