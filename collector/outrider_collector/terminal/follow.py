"""Printing lines: a range of them, then, where asked, whatever is committed next."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TextIO

from outrider.configuration import ConfigError
from outrider.errors import Fault, Reason
from outrider.retry import Backoff
from outrider_collector.store.connect import READ_ROLE, connect
from outrider_collector.store.reading import completeness, feed, fleet, health, logs
from outrider_collector.store.reading.export import csv_header, csv_line, json_line
from outrider_collector.terminal.arguments import resolve
from outrider_collector.terminal.render import line, visible
from outrider_collector.terminal.scope import explain

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from outrider.filter import Filter
    from outrider_collector.store.reading.types import LogRow

POLL_S = 0.5
FOLLOW_LIMIT = 1_000

Form = Literal["text", "json", "csv"]


@dataclass(frozen=True, slots=True)
class Command:
    """What was asked for. Ages count back from the database's clock."""

    filter: Filter
    since: timedelta | datetime
    until: timedelta | datetime | None
    limit: int | None
    follow: bool
    newest_first: bool = False
    """With a limit; without one the newest come first anyway."""


class Output:
    """Writes records in one form. What is not a record goes to the other file."""

    def __init__(self, form: Form, out: TextIO, notes: TextIO) -> None:
        self.form = form
        self._out = out
        self._notes = notes
        self._terminal = out.isatty()

    def begin(self) -> None:
        """Write what comes before the first record."""
        if self.form == "csv":
            self._out.write(csv_header())

    def write(self, rows: list[LogRow]) -> None:
        """Write records, and see that they are out."""
        for row in rows:
            if self.form == "text":
                self._out.write(line(row, colours=self._terminal) + "\n")
            elif self.form == "json":
                self._out.write(json_line(row))
            elif self._terminal:
                # CSV is exact for files and pipes; a terminal would obey what is in it.
                self._out.write(visible(csv_line(row)[:-2]) + "\n")
            else:
                self._out.write(csv_line(row))
        self._out.flush()

    def note(self, text: str) -> None:
        """Say something about the records, beside them."""
        self._notes.write(visible(text) + "\n")
        self._notes.flush()


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
    count = 0
    just_shown: set[tuple[int, int]] = set()
    newest = now - timedelta(minutes=1)
    more = False
    if command.limit is not None:
        rows, more = await _newest(conn, command.filter, since, until, command.limit)
        output.write(rows if command.newest_first else rows[::-1])
        count = len(rows)
        just_shown |= {_name(row) for row in rows if row.received_at >= newest}
    else:
        async for rows in logs.export(conn, command.filter, since, until):
            output.write(rows)
            count += len(rows)
            just_shown |= {_name(row) for row in rows if row.received_at >= newest}
    lines = "line" if count == 1 else "lines"
    which = (
        f"The newest {count:,} {lines}, more match: --limit N shows more."
        if more
        else (f"{count:,} {lines}.")
    )
    output.note(f"{which} {await _how_complete(conn, command.filter, since, until, now)}")
    return just_shown


async def _how_complete(
    conn: AsyncConnection[Any], filter_: Filter, since: datetime, until: datetime, now: datetime
) -> str:
    """Say up to when the view holds everything, or why nobody writes what it asks for."""
    state = await completeness.completeness(conn, filter_, since, until)
    if not state.streams and not state.gaps_total:
        return explain(filter_.node, await fleet.workers(conn), now)
    return completeness.text(completeness.sentence(state, now))


def _time(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _name(row: LogRow) -> tuple[int, int]:
    return row.stream, row.stream_offset


async def _newest(
    conn: AsyncConnection[Any], filter_: Filter, since: datetime, until: datetime, limit: int
) -> tuple[list[LogRow], bool]:
    """Return the newest matches, newest first, and whether there are more."""
    rows: list[LogRow] = []
    after = None
    while len(rows) < limit:
        page = await logs.search(conn, filter_, since, until, limit - len(rows), after=after)
        rows += page.rows
        after = page.next
        if after is None:
            break
    return rows, after is not None


async def _follow(
    url: str, filter_: Filter, output: Output, number: int, just_shown: set[tuple[int, int]]
) -> None:
    """Print what is committed from here on; outlive restarts of the database."""
    backoff = Backoff()
    while True:
        try:
            async with await _open(url) as conn:
                while True:
                    page = await logs.tail(conn, number, filter_, FOLLOW_LIMIT)
                    output.write([row for row in page.rows if _name(row) not in just_shown])
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
            output.note(f"outrider: {fault.text}: waiting for the database")
            await asyncio.sleep(backoff.next())


async def _open(url: str) -> AsyncConnection[Any]:
    return await connect(url, application_name="outrider logs", role=READ_ROLE)
