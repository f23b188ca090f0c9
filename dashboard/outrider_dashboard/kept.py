"""A value that is made at most every so often, however many ask: one of them makes it for all."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class Kept(Generic[T]):
    """Keeps what it was given for ``seconds``."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._made: tuple[float, T] | None = None
        self._making = asyncio.Lock()

    async def get(self, make: Callable[[], Awaitable[T]]) -> T:
        """Return the value that is kept, or a new one; what ``make`` raises is kept by nobody."""
        async with self._making:
            now = self._clock()
            if self._made is None or now - self._made[0] >= self._seconds:
                self._made = (now, await make())
            return self._made[1]
