"""What SQL says of the lines that were written: each one once, in order, or in a gap row."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Callable

_COUNTS = """
select count(*), count(distinct (attributes->>'n')::bigint),
       count(*) filter (where severity >= 17)
from logs where service = %s and attributes ? 'n'
"""
_UNMARKED = """
select count(*), count(distinct (attributes_json(a)->>'n')::bigint)
from blocks b cross join lateral unnest(b.attributes) a
where b.service = %s and not b.replayed and attributes_json(a) ? 'n'
"""
_DISORDER = """
select count(*) from (
    select (attributes->>'n')::bigint - lag((attributes->>'n')::bigint) over
        (partition by stream order by stream_offset) as step
    from logs where service = %s and attributes ? 'n'
) ordered where step <= 0
"""
_MISSING = """
select n from generate_series(0, %s - 1) n
except select (attributes->>'n')::bigint from logs where service = %s and attributes ? 'n'
order by 1 limit 10
"""
_HITS = """
select coalesce(sum(h.n), 0) from hits h join rule_versions r using (hits_key)
where r.name = %s and r.version = (select max(version) from rule_versions where name = %s)
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found for one service."""

    written: int
    stored: int
    distinct: int
    errors: int
    disordered: int
    gap_records: int
    quarantined: int
    missing: tuple[int, ...]
    unmarked: int
    """Rows that are not marked as replayed."""
    unmarked_distinct: int

    @property
    def lost(self) -> int:
        """Lines neither stored nor in a gap row."""
        return self.written - self.distinct - self.gap_records

    @property
    def twice(self) -> int:
        """Rows beyond the first of a line that are not marked."""
        return self.unmarked - self.unmarked_distinct

    @property
    def replayed(self) -> int:
        """Rows that are marked as perhaps a repetition."""
        return self.stored - self.unmarked


def verdict(connection: psycopg.Connection, service: str, written: int) -> Verdict:
    """Compare the ledger's count with the rows."""
    stored, distinct, errors = _row(connection, _COUNTS, service)
    (gap_records,) = _row(
        connection, "select coalesce(sum(records), 0) from gaps where service = %s", service
    )
    (quarantined,) = _row(connection, "select count(*) from quarantine")
    missing: tuple[int, ...] = ()
    if distinct < written:
        rows = connection.execute(_MISSING, (written, service)).fetchall()
        missing = tuple(int(row[0]) for row in rows)
    unmarked, unmarked_distinct = _row(connection, _UNMARKED, service)
    return Verdict(
        written,
        stored,
        distinct,
        errors,
        disordered(connection, service),
        int(gap_records),
        quarantined,
        missing,
        unmarked,
        unmarked_distinct,
    )


def disordered(connection: psycopg.Connection, service: str) -> int:
    """How often a stream of a service has a number that is not after the one before it."""
    return _row(connection, _DISORDER, service)[0]


def hits_of(connection: psycopg.Connection, rule: str) -> int:
    """The sum of the hits stored for a rule."""
    return int(_row(connection, _HITS, rule, rule)[0])


async def settle(
    open_connection: Callable[[], psycopg.Connection],
    service: str,
    written: Callable[[], int],
    *,
    within_s: float,
) -> None:
    """Wait until as many distinct lines are stored as were written by now; TimeoutError else."""
    target = written()
    deadline = time.monotonic() + within_s
    stored = -1
    while time.monotonic() < deadline:
        try:
            with open_connection() as connection:
                stored = _row(connection, _COUNTS, service)[1]
        except psycopg.OperationalError:
            stored = -1
        if stored >= target:
            return
        await asyncio.sleep(0.1)
    raise TimeoutError(f"{service}: {stored} of {target} lines stored after {within_s} s")


def _row(connection: psycopg.Connection, query: str, *values: object) -> tuple[int, ...]:
    row = connection.execute(query.encode(), values or None).fetchone()
    if row is None:
        raise AssertionError(query)
    return tuple(row)
