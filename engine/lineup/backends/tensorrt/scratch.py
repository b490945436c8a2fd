"""One scratch buffer for the activations of all engines, because only one runs at a time."""

from __future__ import annotations

from lineup.backends.tensorrt.cuda import Cuda


class SharedScratch:
    """Device memory as large as the neediest engine asks for.

    Engines are created without memory of their own and borrow this before every run, so several
    loaded models cost the activations of the largest alone. All runs share one stream, which
    keeps them from overlapping.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._address = 0
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        """Size at present."""
        return self._size_bytes

    def borrow(self, size_bytes: int) -> int:
        """Return the address of at least so many bytes, valid until the next larger request."""
        if size_bytes > self._size_bytes:
            self.close()
            self._address = self._cuda.allocate(size_bytes)
            self._size_bytes = size_bytes
        return self._address

    def close(self) -> None:
        """Give the memory back, once nothing on the stream uses it any more."""
        if self._size_bytes:
            self._cuda.synchronize()
            self._cuda.free(self._address)
        self._address = self._size_bytes = 0
