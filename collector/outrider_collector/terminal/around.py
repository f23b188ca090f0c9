"""Hits among their neighbours, as grep shows them: by stream and offset, in groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outrider_collector.store.reading import logs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg import AsyncConnection

    from outrider_collector.store.reading.types import LogRow

Name = tuple[int, int]
Group = list[tuple["LogRow", bool]]
"""Neighbours in one stream, each with whether it is a hit."""


async def read_groups(
    conn: AsyncConnection[Any], hits: Sequence[LogRow], lines: int
) -> list[Group]:
    """Read so many lines before and after each hit, and return them in groups."""
    windows = {}
    for hit in hits:
        # One more before tells whether the lines before continue the group before.
        windows[name(hit)] = await logs.context(
            conn, hit.stream, hit.stream_offset, lines + 1, lines, near=hit.ts
        )
    return groups(hits, windows, lines)


def name(row: LogRow) -> Name:
    """Return a record's name for ever."""
    return row.stream, row.stream_offset


def groups(
    hits: Sequence[LogRow], windows: Mapping[Name, Sequence[LogRow]], lines: int
) -> list[Group]:
    """Join windows of a stream that overlap or touch; groups are in the order of ``hits``. Pure.

    A window is ``lines`` and one more before the hit, the hit, and ``lines`` after it.
    """
    found: dict[Name, dict[Name, LogRow]] = {}
    open_groups: dict[int, Name] = {}
    for hit in sorted(hits, key=name):
        window = windows[name(hit)]
        first = open_groups.get(hit.stream)
        if first is None or name(window[0]) not in found[first]:
            first = open_groups[hit.stream] = name(hit)
            found[first] = {}
            before = [name(row) for row in window].index(name(hit))
            window = window[max(before - lines, 0) :]
        found[first].update((name(row), row) for row in window)
    marked = {name(hit) for hit in hits}
    return [
        [(row, key in marked) for key, row in found[name(hit)].items()]
        for hit in hits
        if name(hit) in found
    ]
