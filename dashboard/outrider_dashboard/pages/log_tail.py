"""The live tail: new lines of a search as server-sent events, newest last in each event.

Each event carries the feed number up to which its lines are told, so a browser that comes back
goes on exactly there. When more lines arrive than a person can read, the newest of them are shown
and the event says how many were passed over: all of them are stored.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, StreamingResponse

from outrider.errors import Fault
from outrider.filter import FilterError, parse
from outrider_dashboard import live
from outrider_dashboard.pages.logs import Entry
from outrider_dashboard.pages.question import shown_columns
from outrider_dashboard.rendering import TEMPLATES
from outrider_dashboard.site import Visit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

    from outrider.filter import Filter
    from outrider_collector.store.reading.types import TailPage

MOST_LINES = 120
"""Lines of one event, at most one event a second."""

_PAUSE_S = 1.0


async def tail(request: Request) -> Response:
    """Open the event stream of one search."""
    visit = Visit(request)
    try:
        filter_ = parse(visit.parameter("q"))
    except FilterError as error:
        return PlainTextResponse(f"{error}\n", status_code=400)
    if visit.site.hub.full:
        return PlainTextResponse("Too many live views are open.\n", status_code=503)
    after = _place(visit)
    shown = shown_columns(visit)
    return StreamingResponse(_events(visit, filter_, after, shown), media_type="text/event-stream")


async def changes(request: Request) -> Response:
    """Open the event stream that tells pages what changed."""
    visit = Visit(request)
    if visit.site.hub.full:
        return PlainTextResponse("Too many live views are open.\n", status_code=503)
    after = _place(visit)
    body = live.changes(visit.site.hub, after, visit.site.stopping)
    return StreamingResponse(body, media_type="text/event-stream")


def _place(visit: Visit) -> int | None:
    """Return the feed number a browser has seen: of its last event, else of its page."""
    after = live.last_event_id(visit.request.headers.get("last-event-id"))
    return live.last_event_id(visit.parameter("after", 20)) if after is None else after


async def _events(
    visit: Visit, filter_: Filter, after: int | None, shown: tuple[str, ...]
) -> AsyncIterator[str]:
    site = visit.site
    number = after
    yield f"retry: {int(live.RETRY_S * 1000)}\n\n"
    quiet_s = 0.0
    async with site.hub.watch(after) as watcher:
        while not site.stopping():
            change = await watcher.take(_PAUSE_S)
            if change is None:
                quiet_s += _PAUSE_S
                if quiet_s >= live.KEEPALIVE_S:
                    yield ": still here\n\n"
                    quiet_s = 0.0
                continue
            quiet_s = 0.0
            if live.RESTORED in change.kinds:
                # The number asked for is of a history that is gone: go on from the new one's end.
                number = change.number
                continue
            if "ingest" not in change.kinds:
                continue
            try:
                async with site.tails:
                    page = await site.source.tail(
                        change.number - 1 if number is None else number, filter_, MOST_LINES
                    )
            except Fault as fault:
                yield live.event("trouble", {"code": str(fault.reason)})
                watcher.put(change)
                await asyncio.sleep(live.RETRY_S)
                continue
            number = page.last_number
            yield _lines(visit, page, shown)
            await asyncio.sleep(_PAUSE_S)


def _lines(visit: Visit, page: TailPage, shown: tuple[str, ...]) -> str:
    """Render the lines as rows, newest first, as they stand in the table."""
    template = TEMPLATES.env.get_template("log_tail.html")
    entries = [Entry(row.ts, row=row) for row in reversed(page.rows)]
    clock = visit.clock.at(visit.site.now())
    data = {
        "html": template.render(entries=entries, columns=shown, t=clock, here="/logs"),
        "lines": len(page.rows) + page.skipped,
        "shown": len(page.rows),
        "errors": sum(row.severity >= 17 for row in page.rows),
        "skipped": page.skipped,
    }
    return live.event("lines", data, page.last_number)
