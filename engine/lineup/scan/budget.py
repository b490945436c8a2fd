"""Limits on how far the readers run ahead of the model, in images and in bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


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
        """Wait for room for one more image; return its number, or None when the scan has ended."""
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
