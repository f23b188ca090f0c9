"""How tests wait: until something holds, and not for ever."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_POLL_S = 0.01


async def eventually(condition: Callable[[], Any], within_s: float = 20.0) -> Any:
    """Return what the condition, which may be asynchronous, gives once that is true.

    TimeoutError says what it gave last.
    """
    deadline = time.monotonic() + within_s
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s} s: {found!r}")
        await asyncio.sleep(_POLL_S)


def wait_until(condition: Callable[[], Any], within_s: float = 20.0) -> Any:
    """Do the same where there is no loop."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s} s: {found!r}")
        time.sleep(_POLL_S)
    return found
