"""Reader threads ahead of the model: paths in, prepared images out, in the order of the paths."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from lineup.scan.budget import LookAhead
from lineup.scan.prepare import Prepared

if TYPE_CHECKING:
    from typing import TypeAlias

Prepare = Callable[[Path], "Prepared | None"]


class Signal(Enum):
    """What a reader may deliver instead of an image."""

    SKIPPED = "the row exists already"
    STALLED = "no further path is known yet"


class _End:
    """The list of paths is over, or failed."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


_Queue: TypeAlias = "queue.SimpleQueue[Future[Prepared | None] | _End]"


def prepared_in_order(
    paths: Iterable[Path],
    prepare: Prepare,
    *,
    workers: int,
    look_ahead: LookAhead,
    stall_seconds: float,
) -> Generator[Prepared | Signal, None, None]:
    """Yield one answer per path, in the order of the paths, prepared by `workers` threads.

    `paths` is consumed on a thread of its own, so that a slow listing or a pipe that stays open
    holds back nobody: `Signal.STALLED` is yielded while it gives nothing.

    Raises:
        Exception: Whatever `paths` raised, after the images before it.
    """
    waiting: _Queue = queue.SimpleQueue()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="lineup-read")
    # A daemon, because reading a pipe cannot be interrupted: the program must be able to end.
    threading.Thread(
        target=_feed,
        args=(paths, prepare, pool, look_ahead, waiting),
        name="lineup-list",
        daemon=True,
    ).start()
    try:
        while True:
            try:
                future = waiting.get(timeout=stall_seconds)
            except queue.Empty:
                yield Signal.STALLED
                continue
            if isinstance(future, _End):
                if future.error is not None:
                    raise future.error
                return
            prepared = future.result()
            look_ahead.take(0 if prepared is None else prepared.held_bytes)
            yield Signal.SKIPPED if prepared is None else prepared
    finally:
        look_ahead.close()
        pool.shutdown(wait=True, cancel_futures=True)


def _feed(
    paths: Iterable[Path],
    prepare: Prepare,
    pool: ThreadPoolExecutor,
    look_ahead: LookAhead,
    waiting: _Queue,
) -> None:
    """Hand the paths to the pool as the look-ahead admits them."""

    def work(path: Path, number: int) -> Prepared | None:
        look_ahead.wait_to_start(number)
        prepared = prepare(path)
        if prepared is not None:
            look_ahead.add_bytes(prepared.held_bytes)
        return prepared

    try:
        for path in paths:
            number = look_ahead.admit()
            if number is None:
                return
            waiting.put(pool.submit(work, path, number))
    except BaseException as error:  # to the thread that scans; this one has no one to tell
        waiting.put(_End(error))
    else:
        waiting.put(_End(None))
