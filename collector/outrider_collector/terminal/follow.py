"""Printing lines: a range of them, then, where asked, whatever is committed next."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from outrider.configuration import ConfigError
from outrider.errors import Fault, Reason
from outrider.filter import doubts
from outrider.retry import Backoff
from outrider_collector.store.connect import READ_ROLE, connect
from outrider_collector.store.reading import completeness, feed, fleet, health, logs
from outrider_collector.terminal import around
from outrider_collector.terminal.arguments import When, resolve
from outrider_collector.terminal.scope import explain

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from psycopg import AsyncConnection

    from outrider.filter import Filter
    from outrider_collector.store.reading.types import LogRow
    from outrider_collector.terminal.output import Output

POLL_S = 0.5
FOLLOW_LIMIT = 1_000
MOST_HELD = 100_000
"""Lines that are turned round, oldest first, are held in memory: no more than these."""


@dataclass(frozen=True, slots=True)
class Command:
    """What was asked for. Ages count back from the database's clock."""

    filter: Filter
    since: When
    until: When | None
    limit: int | None
    """No more than the newest so many; None, for all of them, only with ``newest_first``."""
    follow: bool
    newest_first: bool = False
    """Stream them as they are found, however many there are."""
    context: int = 0
    """So many neighbours in its stream are shown before and after each line."""


async def run(url: str, command: Command, output: Output) -> None:
    """Print the range and, with ``follow``, go on until cancelled. Raises Fault."""
    async with await _open(url) as conn:
        # Before the range is read, so that nothing falls between the range and the tail.
        number = await feed.last(conn)
        now = await health.now(conn)
        output.begin()
        just_shown = await _range(conn, command, output, now)
    if command.follow:
        await _follow(url, command.filter, output, number, just_shown)


async def _range(
    conn: AsyncConnection[Any], command: Command, output: Output, now: datetime
) -> set[tuple[int, int]]:
    """Print the range; return the names of lines that the tail will find once more."""
    since = resolve(command.since, now)
    # Lines of clocks that are ahead belong to "up to now" too.
    until = resolve(command.until, now) if command.until else now + timedelta(hours=1)
    if command.until is not None and since >= until:
        raise ConfigError(
            f"--since ({_time(since)}) is not before --until ({_time(until)})",
            what_to_do="change them round, as in --since 2h --until 1h",
        )
    if since > now:
        output.note(f"--since ({_time(since)}) is in the future, it is {_time(now)} now.")
    count, more = 0, False
    just_shown: set[tuple[int, int]] = set()
    newest = now - timedelta(minutes=1)
    asked = _newest_first if command.newest_first else _oldest_first
    async with aclosing(asked(conn, command, since, until)) as parts:
        async for rows, cut_short in parts:
            more = cut_short
            if command.context:
                output.write_groups(await around.read_groups(conn, rows, command.context))
            else:
                output.write(rows)
            count += len(rows)
            just_shown |= {around.name(row) for row in rows if row.received_at >= newest}
    lines = "line" if count == 1 else "lines"
    which = (
        f"The newest {count:,} {lines}, more match: --limit N shows more."
        if more
        else (f"{count:,} {lines}.")
    )
    output.note(f"{which} {await _how_complete(conn, command.filter, since, until, now)}")
    if not count:
        for doubt in doubts(command.filter.node):
            output.note(f"{doubt}.")
    return just_shown


async def _how_complete(
    conn: AsyncConnection[Any], filter_: Filter, since: datetime, until: datetime, now: datetime
) -> str:
    """Say up to when the view holds everything, or why nobody writes what it asks for."""
    state = await completeness.completeness(conn, filter_, since, until)
    if not (state.streams or state.gaps_total or state.blind_login):
        return explain(filter_.node, await fleet.workers(conn), now)
    return completeness.text(completeness.sentence(state, now))


def _time(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


async def _oldest_first(
    conn: AsyncConnection[Any], command: Command, since: datetime, until: datetime
) -> AsyncGenerator[tuple[list[LogRow], bool]]:
    """Yield the newest matches at once, oldest first, and whether there are more."""
    limit = min(command.limit or MOST_HELD, MOST_HELD)
    rows: list[LogRow] = []
    after = None
    while len(rows) < limit:
        page = await logs.search(conn, command.filter, since, until, limit - len(rows), after=after)
        rows += page.rows
        after = page.next
        if after is None:
            break
    yield rows[::-1], after is not None


async def _newest_first(
    conn: AsyncConnection[Any], command: Command, since: datetime, until: datetime
) -> AsyncGenerator[tuple[list[LogRow], bool]]:
    """Yield the matches in parts, newest first, and with the last whether there are more."""
    left = sys.maxsize if command.limit is None else command.limit
    # One more than wanted tells whether there are more.
    chunk = min(logs.EXPORT_CHUNK, left + 1)
    async with aclosing(logs.export(conn, command.filter, since, until, chunk=chunk)) as chunks:
        async for rows in chunks:
            yield rows[:left], len(rows) > left
            if len(rows) > left:
                return
            left -= len(rows)


async def _follow(
    url: str, filter_: Filter, output: Output, number: int, just_shown: set[tuple[int, int]]
) -> None:
    """Print what is committed from here on; outlive restarts of the database."""
    backoff = Backoff()
    waiting = False
    while True:
        try:
            async with await _open(url) as conn:
                if waiting:
                    waiting = False
                    output.note("The database is back: going on where it was.")
                while True:
                    page = await logs.tail(conn, number, filter_, FOLLOW_LIMIT)
                    output.write([row for row in page.rows if around.name(row) not in just_shown])
                    just_shown = set()
                    if page.skipped or page.unread:
                        output.note(
                            f"{page.skipped:,} lines were not shown and {page.unread:,} not looked"
                            " at: more came than can be followed. All are stored."
                        )
                    number = page.last_number
                    backoff.reset()
                    await asyncio.sleep(POLL_S)
        except Fault as fault:
            if fault.reason is not Reason.STORE_DOWN:
                raise
            if not waiting:
                waiting = True
                output.note(f"outrider: {fault.text}: waiting for the database")
            await asyncio.sleep(backoff.next())


async def _open(url: str) -> AsyncConnection[Any]:
    return await connect(url, application_name="outrider logs", role=READ_ROLE)
