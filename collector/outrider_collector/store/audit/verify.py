"""``outrider audit verify``: the whole log read and proved, group by group of seals.

One short statement at a time in one snapshot, so that what is sealed meanwhile does not look like
tampering. Nothing is changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from psycopg import sql
from psycopg.rows import tuple_row
from psycopg.types.numeric import Int8BinaryLoader

from outrider.instants import from_us, to_us
from outrider_collector.store.audit import months, proof
from outrider_collector.store.audit.canonical import NO_ROOT, Head, Seal
from outrider_collector.store.audit.seals import MOST_ROWS, read_rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from datetime import datetime

    from psycopg import AsyncConnection

    from outrider_collector.store.audit.proof import Finding, Stored

MOST_FINDINGS: Final = 100
_SEALS_AT_A_TIME: Final = 50
_BEFORE_ANY: Final = -(2**63)
_ROWS_MAX: Final = 1_000_000
"""Of one group: more than a seal ever has, for rows that were inserted."""

_SEALS: Final = """
select number, month, after_id, up_to_id, ids, leaves, previous, sealed_at, tree, root
from audit_seals where number > %s order by number limit %s
"""
# Null for a login that may not look at the sequence, which then is told nothing by it.
_GIVEN_OUT: Final = sql.SQL("""(
    select case when has_sequence_privilege('audit_ids', 'select, usage')
        then coalesce(last_value, 0) end
    from pg_sequences where (schemaname, sequencename) = (current_schema(), 'audit_ids'))
""")
_BEYOND: Final = sql.SQL("select id from audit_log where id > {} order by id limit %s").format(
    _GIVEN_OUT
)
_UNSEALED: Final = sql.SQL("""
select count(*), count(*) filter (where received_at < clock_timestamp() - make_interval(secs => %s))
from audit_log where id > %s and id <= coalesce({}, id)
""").format(_GIVEN_OUT)


@dataclass(slots=True)
class Report:
    """What the proof came to."""

    rows: int = 0
    """Rows that were looked at and are as they were sealed, or told of in ``findings``."""
    retired: int = 0
    """Rows that retention removed; their seals are proved."""
    retired_before: datetime | None = None
    unsealed: int = 0
    """Rows that no seal covers, which nothing proves."""
    late: int = 0
    """Those of them that should have been sealed long ago: nobody seals, or seals were removed."""
    seals: int = 0
    head: Head = field(default_factory=lambda: Head(0, NO_ROOT))
    sealed_at: datetime | None = None
    heads_agreeing: int = 0
    findings: list[Finding] = field(default_factory=list)
    findings_count: int = 0


async def verify(
    connection: AsyncConnection,
    heads: Iterable[Head] = (),
    progress: Callable[[Report], None] = lambda _: None,
    *,
    late_s: float = proof.LATE_S,
) -> Report:
    """Prove the log, and that it bears out the published heads.

    A row that no seal covers is late when it came more than ``late_s`` seconds ago.
    The connection may read every row of every team.
    """
    report, chain = Report(), proof.Chain(heads)
    async with connection.transaction():
        await connection.execute("set transaction isolation level repeatable read, read only")
        report.retired_before = end = await months.retired_before(connection)
        retired_us = 0 if end is None else to_us(end)
        up_to = 0
        before_us: int | None = None
        async for group in _groups(connection):
            for stored in group:
                _found(report, chain.look(stored))
            seals = [stored.seal for stored in group]
            up_to = seals[-1].up_to_id
            # Nothing has an id before the first; what has one now is of the first group.
            after = seals[0].after_id or _BEFORE_ANY
            rows = await read_rows(connection, after, up_to, _ROWS_MAX)
            _found(report, proof.compare(seals, rows, retired_us, before_us))
            before_us = proof.end_of(seals, MOST_ROWS) or before_us
            report.rows += len(rows)
            there = {row["id"] for row in rows}
            report.retired += sum(
                number not in there
                for seal in seals
                if seal.month < retired_us
                for number in seal.ids
            )
            report.seals += len(seals)
            report.sealed_at = from_us(seals[-1].sealed_at)
            progress(report)
        _found(report, chain.end())
        cursor = await connection.execute(_BEYOND, (MOST_FINDINGS,))
        _found(report, (proof.beyond(number) for (number,) in await cursor.fetchall()))
        cursor = await connection.execute(_UNSEALED, (late_s, up_to))
        report.unsealed, report.late = await cursor.fetchone() or (0, 0)
    report.head, report.heads_agreeing = chain.head, chain.agreeing
    return report


def _found(report: Report, findings: Iterable[Finding]) -> None:
    for finding in findings:
        report.findings_count += 1
        if len(report.findings) < MOST_FINDINGS:
            report.findings.append(finding)


async def _groups(connection: AsyncConnection) -> AsyncIterator[list[Stored]]:
    """Yield the seals that cover the same ids, in order."""
    waiting: list[Stored] = []
    async for stored in _stored(connection):
        if waiting and stored.seal.up_to_id != waiting[-1].seal.up_to_id:
            yield waiting
            waiting = []
        waiting.append(stored)
    if waiting:
        yield waiting


async def _stored(connection: AsyncConnection) -> AsyncIterator[Stored]:
    number = _BEFORE_ANY
    while True:
        async with connection.cursor(binary=True, row_factory=tuple_row) as cursor:
            cursor.adapters.register_loader("timestamptz", Int8BinaryLoader)
            await cursor.execute(_SEALS, (number, _SEALS_AT_A_TIME))
            found = await cursor.fetchall()
        for number, month, after, up_to, ids, leaves, previous, sealed_at, tree, root in found:
            seal = Seal(
                number=number, month=month, after_id=after, up_to_id=up_to, ids=tuple(ids),
                leaves=bytes(leaves), previous=bytes(previous), sealed_at=sealed_at,
            )  # fmt: skip
            yield proof.Stored(seal, bytes(tree), bytes(root))
        if len(found) < _SEALS_AT_A_TIME:
            return
