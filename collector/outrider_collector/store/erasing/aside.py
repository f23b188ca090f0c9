"""What matches and is in no block: quarantine, copies of records that are gone, the audit log.

Records in quarantine are erased, and copies too where the filter asks only for what a copy holds.
Rows of the audit log are sealed: they stay, and are counted.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from outrider import severity as severities
from outrider_collector.store.erasing import copies
from outrider_collector.store.erasing.records import Source, asks_only_texts, matches
from outrider_collector.store.erasing.traces import HOLDERS
from outrider_collector.store.record_columns import TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg import AsyncConnection

    from outrider.filter import Filter
    from outrider_collector.store.erasing.traces import Copies

_QUARANTINE: Final = """
select q.id, q.payload, q.stream, coalesce(i.service, ''), coalesce(i.worker, ''),
       coalesce(i.host, ''), coalesce(i.source, '')
from quarantine q left join stream_info i on i.id = q.stream
where q.id > %s order by q.id limit 100
"""


class Aside(NamedTuple):
    """A range in quarantine that holds matches."""

    id: int
    matches: int
    rest: bytes
    """What is left of its payload."""


async def in_quarantine(connection: AsyncConnection, wanted: Filter) -> tuple[list[Aside], int]:
    """Return the ranges with matches, and how many cannot be read and were passed over."""
    found: list[Aside] = []
    last = unread = 0
    while True:
        cursor = await connection.execute(_QUARANTINE, (last,))
        page = await cursor.fetchall()
        for number, payload, stream, service, *described in page:
            last = number
            lines = bytes(payload).split(b"\n")
            try:
                stays = [
                    line
                    for line in lines
                    if not _line_matches(wanted, line, stream, service, Source(*described))
                ]
            except (ValueError, KeyError):
                unread += 1
                continue
            if len(stays) < len(lines):
                found.append(Aside(number, len(lines) - len(stays), b"\n".join(stays)))
        if not page:
            return found, unread


def _line_matches(wanted: Filter, line: bytes, stream: int, service: str, source: Source) -> bool:
    """Read a line as quarantine writes it. Raises ValueError, KeyError for other ones."""
    said = json.loads(line)
    texts = {
        name: str(said[name]).encode("utf-8", "surrogateescape").replace(b"\0", b" ")
        for name in TEXTS
        if said.get(name) is not None
    }
    if "n" in said:
        raise ValueError("columns that could not be read")
    severity = said["severity"] or 0
    return matches(wanted, texts, service=service, source=source, stream=stream, severity=severity)


async def erase_aside(connection: AsyncConnection, found: Iterable[Aside]) -> None:
    """Erase matches in quarantine, range by range."""
    for each in found:
        if each.rest:
            await connection.execute(
                "update quarantine set payload = %s where id = %s", (each.rest, each.id)
            )
        else:
            await connection.execute("delete from quarantine where id = %s", (each.id,))


_AUDIT: Final = """
select id, event, error_code, message, attributes, correlation_id, trace_id, severity, service,
       worker, host, coalesce(stream, 0)
from audit_log where id > %s order by id limit 1000
"""


async def in_audit_log(connection: AsyncConnection, wanted: Filter) -> int:
    """Return how many rows of the audit log match: they are sealed, and stay."""
    found = last = 0
    while True:
        cursor = await connection.execute(_AUDIT, (last,))
        page = await cursor.fetchall()
        for number, *values, trace_id, severity, service, worker, host, stream in page:
            last = number
            names = ("event", "error_code", "message", "attributes", "correlation_id")
            texts: dict[str, bytes | None] = {
                name: None if value is None else value.encode()
                for name, value in zip(names, values, strict=True)
            }
            texts["trace_id"] = trace_id.bytes if trace_id else None
            found += matches(
                wanted, texts, service=service, source=Source(worker, host, ""), stream=stream,
                severity=severity,
            )  # fmt: skip
        if not page:
            return found


async def copies_without_a_record(
    connection: AsyncConnection, wanted: Filter, known: Copies, seen: set[tuple[int, int]]
) -> set[tuple[int, int]]:
    """Return the names of copies that match by themselves, of records that were in no block."""
    if not asks_only_texts(wanted):
        return set()
    left, names = known.unseen(seen), set()
    for holder in HOLDERS.values():
        cursor = await connection.execute(holder.all)
        async for _, document in cursor:
            for copy in copies.copies(document):
                name = copies.name_of(copy)
                if name in left and _copy_matches(wanted, copy, name):
                    names.add(name)
    return names


def _copy_matches(wanted: Filter, copy: copies.Copy, name: tuple[int, int]) -> bool:
    return matches(
        wanted,
        {"message": str(copy["message"]).encode("utf-8", "replace")},
        service=str(copy.get("service", "")),
        source=Source(str(copy.get("worker", "")), "", ""),
        stream=name[0],
        severity=_severity(copy.get("severity")),
    )


def _severity(said: Any) -> int:
    return severities.parse(said if isinstance(said, int) else str(said)) or 0
