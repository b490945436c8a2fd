"""Reader threads ahead of the model: in the order of the paths, in bounded memory."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from enum import Enum
from typing import Protocol, TypeAlias, TypeVar

IDLE_SECONDS = 0.25
"""How long is waited for the next path after one did not come in time."""


class HoldsBytes(Protocol):
    """What is read from a file."""

    @property
    def held_bytes(self) -> int:
        """Memory that it takes until the model had it."""
        ...


Item = TypeVar("Item", bound=HoldsBytes)
File = TypeVar("File")
"""A path, or what else is read as a file."""


class ByteBudget:
    """Bytes that several threads may hold together; who would exceed it waits.

    A request larger than the whole budget is granted when nothing else is held, so that one huge
    image goes through alone instead of never.

    Attributes:
        limit: Bytes.
        peak: Most bytes that were held at once.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.peak = 0
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def reserved(self, size: int) -> Iterator[None]:
        """Hold `size` bytes inside the block; waits until they are free."""
        with self._changed:
            self._changed.wait_for(lambda: self._held == 0 or self._held + size <= self.limit)
            self._held += size
            self.peak = max(self.peak, self._held)
        try:
            yield
        finally:
            with self._changed:
                self._held -= size
                self._changed.notify_all()


class LookAhead:
    """Lets the readers start images while few enough images and bytes wait for the model.

    The model takes the images in the order of their admission. The one that it takes next may
    always start, so it never waits for an image that waits for it.

    Args:
        images: Most images that are admitted and not yet taken.
        size: Bytes of tiles, ready and not yet taken, from which on no image is started. Images
            that the readers are at may come on top.

    Attributes:
        peak_images: Most images that were admitted and not yet taken.
        peak_bytes: Most bytes of tiles that were ready and not yet taken.
    """

    def __init__(self, images: int, size: int) -> None:
        self.peak_images = 0
        self.peak_bytes = 0
        self._image_limit = images
        self._byte_limit = size
        self._admitted = 0
        self._taken = 0
        self._bytes = 0
        self._closed = False
        self._changed = threading.Condition()

    def admit(self) -> int | None:
        """Wait for room for one more image; return its number, or None at the end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._admitted - self._taken < self._image_limit
            )
            if self._closed:
                return None
            self._admitted += 1
            self.peak_images = max(self.peak_images, self._admitted - self._taken)
            return self._admitted - 1

    def wait_to_start(self, number: int) -> None:
        """Wait until the image of this number may be read."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._bytes < self._byte_limit or number == self._taken
            )

    def add_bytes(self, size: int) -> None:
        """Count the tiles of an image that is ready."""
        with self._changed:
            self._bytes += size
            self.peak_bytes = max(self.peak_bytes, self._bytes)

    def take(self, size: int) -> None:
        """Count the next image and its tiles out: they are the model's now."""
        with self._changed:
            self._taken += 1
            self._bytes -= size
            self._changed.notify_all()

    def close(self) -> None:
        """Admit nothing more, and let nobody wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Signal(Enum):
    """What a reader may deliver instead of an image."""

    SKIPPED = "the image is known already"
    STALLED = "no further path is known yet"


_Queue: TypeAlias = "queue.SimpleQueue[Future[Item | None] | BaseException | None]"
"""Images in the making, then None, or what ended the list of paths early."""


def read_in_order(
    paths: Iterable[File],
    read: Callable[[File], Item | None],
    *,
    workers: int,
    look_ahead: LookAhead,
    stall_seconds: float,
) -> Generator[Item | Signal, None, None]:
    """Yield what `read` returns for each path, in the order of the paths, from `workers` threads.

    `Signal.SKIPPED` stands for None.

    `paths` is consumed on a thread of its own, so that a slow listing or a pipe that stays open
    holds back nobody: `Signal.STALLED` is yielded while it gives nothing.

    Raises:
        Exception: Whatever `paths` raised, after the images before it.
    """
    waiting: _Queue[Item] = queue.SimpleQueue()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="lineup-read")
    # A daemon, because reading a pipe cannot be interrupted: the program must be able to end.
    threading.Thread(
        target=_feed,
        args=(paths, read, pool, look_ahead, waiting),
        name="lineup-list",
        daemon=True,
    ).start()
    timeout = stall_seconds
    try:
        while True:
            try:
                future = waiting.get(timeout=timeout)
            except queue.Empty:
                timeout = max(stall_seconds, IDLE_SECONDS)  # what is known was told
                yield Signal.STALLED
                continue
            timeout = stall_seconds
            if future is None:
                return
            if isinstance(future, BaseException):
                raise future
            item = future.result()
            look_ahead.take(0 if item is None else item.held_bytes)
            yield Signal.SKIPPED if item is None else item
    finally:
        look_ahead.close()
        pool.shutdown(wait=True, cancel_futures=True)


def _feed(
    paths: Iterable[File],
    read: Callable[[File], Item | None],
    pool: ThreadPoolExecutor,
    look_ahead: LookAhead,
    waiting: _Queue[Item],
) -> None:
    """Hand the paths to the pool as the look-ahead admits them."""

    def work(path: File, number: int) -> Item | None:
        look_ahead.wait_to_start(number)
        item = read(path)
        if item is not None:
            look_ahead.add_bytes(item.held_bytes)
        return item

    try:
        for path in paths:
            number = look_ahead.admit()
            if number is None:
                return
            waiting.put(pool.submit(work, path, number))
    except BaseException as error:  # to whoever takes the images; here is no one to tell
        waiting.put(error)
    else:
        waiting.put(None)
