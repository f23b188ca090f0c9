"""A forecast is made of the sizes of days and months, and since when there are logs.

Only the catalogue and sizes are read, no block.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from outrider_collector.store.audit import months
from outrider_collector.store.budget.forecast import Stock, Table, forecast
from outrider_collector.store.budget.limits import used_of
from outrider_collector.store.compaction import days
from outrider_collector.store.compaction.classes import RecordClass

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import AsyncConnection

    from outrider_collector.store.budget.forecast import Forecast
    from outrider_collector.store.budget.limits import Budget, Measured
    from outrider_collector.store.compaction.classes import Retention

AUDIT_ROWS: Final = "audit log"
"""The label of the audit log's rows, which are kept beside the records of their class."""
_DAY: Final = timedelta(days=1)

_SIZES: Final = """
select c.relname::text, coalesce(pg_total_relation_size(c.oid), 0)::bigint
from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent in ('blocks_compacted'::regclass, 'audit_log'::regclass)
"""
# They come and go with their day.
_SHEETS: Final = """
select day, class, sum(octet_length(slices))::bigint from block_sheets group by 1, 2
"""
# Agents are few and stay; the first of them brought the first lines.
_SINCE: Final = "select clock_timestamp(), min(created_at) from agents"


async def read_forecast(
    connection: AsyncConnection, retention: Retention, measured: Measured, budget: Budget | None
) -> Forecast:
    """Say how the store goes on, from what it takes now."""
    stocks = await read_stocks(connection, retention)
    now, since = await read_since(connection)
    limit_bytes = budget.limit_bytes if budget is not None else None
    return forecast(stocks, used_of(budget, measured), limit_bytes, now, since)


async def read_stocks(connection: AsyncConnection, retention: Retention) -> list[Stock]:
    """Return what there is of each class, and of the audit log's rows."""
    cursor = await connection.execute(_SHEETS)
    sheets = {
        days.Day(begin, RecordClass(number)): size
        for begin, number, size in await cursor.fetchall()
    }
    cursor = await connection.execute(_SIZES)
    by_class: dict[RecordClass, list[Table]] = {one: [] for one in RecordClass}
    by_month: list[Table] = []
    for name, size_bytes in await cursor.fetchall():
        day, month = days.Day.of_table(name), months.month_of_table(name)
        if day is not None:
            by_class[day.record_class].append(
                Table(day.begin, _DAY, size_bytes + sheets.get(day, 0))
            )
        elif month is not None:
            by_month.append(Table(month, months.next_month(month) - month, size_bytes))
    audited = max(retention[RecordClass.SECURITY], retention[RecordClass.AUDIT])
    return [
        *(Stock(one.label, retention[one], tables) for one, tables in by_class.items()),
        Stock(AUDIT_ROWS, audited, by_month),
    ]


async def read_since(connection: AsyncConnection) -> tuple[datetime, datetime | None]:
    """Return the database's clock, and since when it has taken logs (None: it has not)."""
    row = await (await connection.execute(_SINCE)).fetchone()
    assert row is not None  # noqa: S101  an aggregate returns one row
    return row[0], row[1]
