"""The deadline of a request: for its body, and for its answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

Answer = TypeVar("Answer")


class Clock:
    """Counts from the moment when a request's headers were there.

    Args:
        seconds: Until its answer.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    async def body(self, form: Coroutine[Any, Any, Answer]) -> Answer:
        """Wait for a request's body.

        Raises:
            HTTPException: 408.
        """
        try:
            return await asyncio.wait_for(form, self._left())
        except asyncio.TimeoutError:
            text = f"The body did not come within {self._seconds:g} seconds."
            raise HTTPException(408, text, {"connection": "close"}) from None

    async def answers(
        self, futures: Sequence[Future[Answer]], gone: Awaitable[Any]
    ) -> list[Answer]:
        """Wait for answers; what is late, or wanted by nobody any more, is cancelled.

        Args:
            futures: The answers.
            gone: Ends when the client is gone: the next message after a body.

        Raises:
            HTTPException: 504.
            ClientDisconnect: Nobody waits for the answers.
        """
        waiting = asyncio.ensure_future(_all(futures))
        left = asyncio.ensure_future(gone)
        try:
            await asyncio.wait(
                {waiting, left}, timeout=self._left(), return_when=asyncio.FIRST_COMPLETED
            )
            if waiting.done():
                return waiting.result()
            if left.done():
                raise ClientDisconnect
            text = f"There was no answer within {self._seconds:g} seconds. Try again later."
            raise HTTPException(504, text)
        finally:
            waiting.cancel()
            left.cancel()

    def _left(self) -> float:
        return max(0.0, self._end - time.monotonic())


async def _all(futures: Sequence[Future[Answer]]) -> list[Answer]:
    return await asyncio.gather(*map(asyncio.wrap_future, futures))
