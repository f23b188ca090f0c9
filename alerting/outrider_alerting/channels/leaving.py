"""The moment at which a message may leave, which its sender records before the first byte does.

Who ends before that moment has surely sent nothing. So a channel connects and logs in first, calls
its ``leave`` right before the first byte that can tell somebody something, and writes at once. An
HTTP client shows that moment by its ``trace`` extension, see :func:`before_first_byte`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Leave = Callable[[], Awaitable[None]]
"""Returns when a message may leave, also if called again; raises StaysError where it must not."""


class StaysError(Exception):
    """A message must not leave, so it was surely not sent; the text says why."""


async def at_once() -> None:
    """Let a message leave of which nobody keeps a record."""


def before_first_byte(leave: Leave) -> Callable[[str, Any], Awaitable[None]]:
    """Return a ``trace`` for a request of httpx: connected, it asks ``leave`` before it writes."""

    async def trace(event: str, _: Any) -> None:
        if event.endswith(".send_request_headers.started"):
            await leave()

    return trace
