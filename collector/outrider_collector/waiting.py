"""Waiting for the first of several things."""

from __future__ import annotations

import asyncio


async def first_of(timeout_s: float, *events: asyncio.Event) -> None:
    """Return when one of the events is set or the time is over."""
    if any(event.is_set() for event in events):
        return
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
