"""Iteration over batches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

B = TypeVar("B")


class Batches(Generic[B]):
    """What a coroutine function gives, one an iteration.

    No async generator, as that would have to be closed.

    Args:
        receive: The function.
    """

    def __init__(self, receive: Callable[[], Awaitable[B]]) -> None:
        self._receive = receive

    def __aiter__(self) -> AsyncIterator[B]:
        return self

    async def __anext__(self) -> B:
        return await self._receive()
