"""Facets: which values the matches have, and how often, in one pass over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from outrider import severity
from outrider_collector.store.reading import blocks
from outrider_collector.store.reading.counts import Counting
from outrider_collector.store.reading.expressions import most_counted, of_streams
from outrider_collector.store.reading.filter_sql import compile_filter
from outrider_collector.store.reading.session import DEFAULT_TIMEOUT_MS, snapshot
from outrider_collector.store.reading.types import Facets, FacetValue

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import AsyncConnection

    from outrider.filter import Filter

MOST_FACET_RECORDS = 1_000_000
"""Facets are counted over at most so many records, the newest."""

FACET_FIELDS: Final = ("severity", "service", "worker", "event", "error_code", "host")

_COLUMNS: Final = frozenset({"ts", "stream", "severity", "event", "error_code"})

_FACETS = sql.SQL("""
    with counted as materialized (
        select grouping(level, u.service, u.stream, u.event, u.error_code) as field,
               level, u.service, u.stream, u.event, u.error_code, count(*) as n
        from ({records}) u
        cross join lateral (select least((greatest(u.severity, 1) - 1) / 4, 5)) l(level)
        where u.ts >= %(low)s::timestamptz and u.ts < %(high)s::timestamptz and {record}
        group by grouping sets ((level), (u.service), (u.stream), (u.event), (u.error_code))
    ), valued as (
        select 'severity' as name, level::text as value, n from counted where field = 15
        union all select 'service', service, n from counted where field = 23
        union all select 'event', event, n from counted where field = 29
        union all select 'error_code', error_code, n from counted where field = 30
        union all
        select side.name, side.value, sum(c.n)
        from counted c join stream_info i on i.id = c.stream
        cross join lateral (values ('worker', i.worker), ('host', i.host)) side(name, value)
        where c.field = 27
        group by 1, 2
    ), ranked as (
        select name, value, n,
               row_number() over (partition by name order by n desc, value) as place,
               count(*) over (partition by name) as distinct_values,
               sum(n) over (partition by name) as lines
        from valued where value is not null
    )
    select name, value, n::bigint, distinct_values, lines::bigint
    from ranked where place <= %(top)s order by name, place
    """)


async def facets(
    conn: AsyncConnection[Any],
    filter: Filter,  # noqa: A002  the word users know
    since: datetime,
    until: datetime,
    *,
    top: int = 10,
    most_records: int = MOST_FACET_RECORDS,
    timeout_ms: int = DEFAULT_TIMEOUT_MS,
) -> Facets:
    """Return the most frequent values of the facet fields among the matches.

    Only the newest ``most_records`` records are looked at; ``Facets.counted_since`` says since
    when. Raises QUERY_TIMEOUT.
    """
    low, high = max(since, blocks.EARLIEST), min(until, blocks.LATEST)
    compiled = compile_filter(filter)
    async with snapshot(conn, timeout_ms) as open_snapshot:
        conditions = await of_streams(open_snapshot, compiled)
        scope = await blocks.scope(open_snapshot, conditions)
        counting = Counting(open_snapshot, scope, conditions, low, high)
        cut, records = await counting.cut(most_counted(conditions, most_records))
        await counting.sieve(cut, min(records, most_records), scope.now)
        conditions = await counting.answered(cut)
        found = await open_snapshot.rows(
            _FACETS.format(
                records=blocks.records_in_range(conditions, _COLUMNS | conditions.columns),
                record=conditions.record,
            ),
            {**counting.parameters, **conditions.parameters, "low": cut, "top": top},
        )
    values: dict[str, list[FacetValue]] = {name: [] for name in FACET_FIELDS}
    distinct = dict.fromkeys(FACET_FIELDS, 0)
    lines = 0
    for name, value, n, distinct_values, of_field in found:
        label = severity.NAMES[int(value)] if name == "severity" else value
        values[name].append(FacetValue(label, n))
        distinct[name] = distinct_values
        # Every record has a severity, so the sum over all of them is the number of records.
        lines = of_field if name == "severity" else lines
    worst_first = severity.NAMES[::-1]
    values["severity"].sort(key=lambda facet: worst_first.index(facet.value))
    return Facets(**values, distinct=distinct, lines=lines, counted_since=cut)
