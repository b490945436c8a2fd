"""Objects that own something to release: usable in a `with` block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class ClosesOnExit(ABC):
    """Calls `close` when a `with` block ends, however it ends."""

    @abstractmethod
    def close(self) -> None:
        """Release what the object owns; it cannot be used afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
