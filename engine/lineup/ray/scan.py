"""`lineup scan --ray`: rows of named files and folders, by a cluster."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from lineup.errors import BackendError, LineupError, UsageError, require_extra
from lineup.finding import IMAGE_SUFFIXES, NamedImages
from lineup.ray.dataset import (
    BLOCK_IMAGES,
    ON_NVIDIA,
    Asked,
    actors_of_cluster,
    rows_from_files,
)
from lineup.scan.arrow import records_from_table
from lineup.scan.pipeline import Identities, unique_paths

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.fs import FileSystem

CONNECT_SECONDS = 10.0
THIS_MACHINE = "local"
URI_MARK = "://"
RAISED = re.compile(r"^lineup\.errors\.\w+: ", re.MULTILINE)
"""What the last line of a trace begins with, where an actor raised an error of this project."""

USAGE_VARIABLE = "RAY_USAGE_STATS_ENABLED"


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """Be a driver of a cluster inside the block.

    What Ray itself has to say is in the logs of its session: it would print among the rows.

    Args:
        address: HOST:PORT of the head, or "auto"; `THIS_MACHINE` starts one that ends with the
            block.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: There is no cluster at the address.
    """
    require_extra("ray", ["ray", "pyarrow"])
    os.environ[USAGE_VARIABLE] = "0"  # Ray reports to its makers otherwise
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it warns of what is handled here
    import ray  # noqa: PLC0415 - an extra
    from ray.data import DataContext  # noqa: PLC0415

    is_ours = not ray.is_initialized()
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        if is_ours:
            _connect(address)
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        DataContext.get_current().enable_progress_bars = False
        try:
            yield
        finally:
            if is_ours:
                ray.shutdown()


def _connect(address: str) -> None:
    import ray  # noqa: PLC0415 - an extra

    if address not in (THIS_MACHINE, "auto"):
        _check_reachable(address)
    more = {"include_dashboard": False} if address == THIS_MACHINE else {}
    try:
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **more)
    except Exception as error:  # Ray has no class of its own for this
        raise UsageError(
            f"Ray at {address!r} does not answer: {error}",
            hint="Name the head of a cluster behind the paths: --ray=HOST:PORT.",
        ) from error


def _check_reachable(address: str) -> None:
    """Refuse what Ray would try to reach for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UsageError(
            f"There is no Ray cluster at {address!r}: {error}",
            hint="Name the head of a cluster behind the paths: --ray=HOST:PORT.",
        ) from error


class Files:
    """Files of this machine, as a command line names them, and of stores that URIs name.

    Args:
        named: The command line's; a name with `://` is a URI that pyarrow knows.

    Attributes:
        stores: The file systems of the URIs, which `blocks` fills in.
        count: Files so far.
    """

    def __init__(self, named: NamedImages) -> None:
        self.stores: list[FileSystem] = []
        self.count = 0
        self._named = named

    def blocks(self, done: Identities) -> Iterator[pyarrow.Table]:
        """Yield tables of `path` and `done`, and of `store` and `location` where a URI named it.

        Raises:
            UsageError: Nothing is named, or a URI cannot be used.
        """
        import pyarrow as pa  # noqa: PLC0415 - an extra

        fields = [("path", pa.binary()), ("done", pa.binary())]
        schema = pa.schema([*fields, ("store", pa.int32()), ("location", pa.string())])
        items = self._items(done)
        while block := list(islice(items, BLOCK_IMAGES)):
            self.count += len(block)
            yield pa.Table.from_pylist(block, schema=schema)

    def _items(self, done: Identities) -> Iterator[dict[str, Any]]:
        uris = [one for one in self._named.arguments if URI_MARK in one]
        local = [one for one in self._named.arguments if URI_MARK not in one]
        if local or self._named.list_file is not None:
            for path in unique_paths(replace(self._named, arguments=local).images()):
                yield {"path": os.fsencode(path), "done": done.content(str(path))}
        for store, uri in enumerate(dict.fromkeys(uris)):
            for name, location in self._listed(uri):
                yield {
                    "path": name.encode(),
                    "done": done.content(name),
                    "store": store,
                    "location": location,
                }

    def _listed(self, uri: str) -> Iterator[tuple[str, str]]:
        """Yield the images that a URI stands for: names for rows, and paths in its store."""
        import pyarrow as pa  # noqa: PLC0415 - an extra
        from pyarrow import fs  # noqa: PLC0415

        try:
            store, base = fs.FileSystem.from_uri(uri)
            is_folder = store.get_file_info(base).type is fs.FileType.Directory
            found = store.get_file_info(fs.FileSelector(base, recursive=True)) if is_folder else []
        except (OSError, ValueError, pa.ArrowException) as error:
            raise UsageError(
                f"{uri} cannot be listed: {error}",
                hint="Ray's machines read what pyarrow reads: s3://, gs://, hdfs://, file://.",
            ) from error
        self.stores.append(store)
        name = uri.partition("?")[0].rstrip("/")  # options of the store stay out of rows
        if not is_folder:
            yield name, base
        for one in sorted(found, key=lambda one: one.path):
            inside = PurePosixPath(one.path).relative_to(base)
            is_hidden = any(part.startswith(".") for part in inside.parts)
            if one.is_file and inside.suffix.lower() in IMAGE_SUFFIXES and not is_hidden:
                yield f"{name}/{inside}", one.path


def cluster_records(files: Files, asked: Asked, done: Identities) -> Iterator[dict[str, Any]]:
    """Yield the rows of files as they are made, each once; files that are done have none.

    An actor takes the cores that its engine has threads, at least one, and a GPU where it computes
    on one.

    Raises:
        UsageError: Nothing is named, or a URI cannot be used.
        LineupError: An engine cannot be opened on a node.
        BackendError: The cluster gave up.
    """
    import ray  # noqa: PLC0415 - an extra

    blocks = list(files.blocks(done))
    if not blocks:
        return
    engine = asked.kit.engine
    num_cpus = engine["threads"] or 1
    num_gpus = 1 if str(engine["device"]).startswith(ON_NVIDIA) else 0
    # A pool of all at once: nothing else of this job needs a core.
    actors = min(len(blocks), actors_of_cluster(num_cpus, num_gpus))
    asked = replace(asked, stores=tuple(files.stores))
    try:
        rows = rows_from_files(ray.data.from_arrow(blocks), asked, num_cpus, num_gpus, actors)
        seen = Identities()
        for batch in rows.iter_batches(batch_format="pyarrow", batch_size=None):
            for record in records_from_table(batch):
                if not seen.holds(record["path"], None):
                    seen.add(record["path"], None)
                    yield record
    except ray.exceptions.RayError as error:
        raise _given_up(error) from error


def _given_up(error: Exception) -> LineupError:
    """Return what a cluster's error says of its cause, without the traces of its processes."""
    text = str(error)
    *_, said = RAISED.split(text)
    message, _, hint = said.strip().partition("\n")
    if said == text:  # none of this project's: the last line names it
        message, hint = text.strip().rpartition("\n")[2], ""
    return BackendError(
        f"The cluster gave up: {message or type(error).__name__}",
        hint=hint.strip().partition("\n")[0] or "Rows so far are complete: use --resume.",
    )
