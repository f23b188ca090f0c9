"""Lists of alerts and notices of a long history are read by an index, not by looking at all."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from outrider_collector.store.reading import alerts
from tests.collector.reading.rows import BASE

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_HISTORY = """
    with alert as (
        insert into alerts (rule, key, labels, kind, priority, state, summary, started_at, fired_at,
                            resolved_at, rule_set)
        select 'r', array[n::text], '{}', 'count', 'warning', 'resolved', 's', at, at,
               at + interval '1 minute', 1
        from (select n, %(newest)s::timestamptz - n * interval '1 minute' as at
              from generate_series(1, 20000) n) past
        returning id, started_at
    )
    insert into notifications (alert, notice, channel, channel_type, conversation, priority, fate,
                               content, created_at)
    select id, 'fired', 'in-app', 'in-app', 'in-app', 'warning', 'sent', '{}', started_at from alert
    """


async def test_recent_alerts_and_notices_are_read_by_an_index(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """Of two weeks the last hour is shown, and only that is looked at."""
    await owner.execute(_HISTORY, {"newest": BASE})
    await owner.execute("analyze alerts, notifications")
    since = BASE - timedelta(hours=1)
    recent = await alerts.recent(reader, since)
    notices = await alerts.notices(reader, since)
    await reader.execute("select pg_stat_force_next_flush()")

    assert (len(recent), len(notices)) == (61, 60)
    used = await owner.execute(
        "select indexrelname from pg_stat_user_indexes where idx_scan > 0"
        " and indexrelname in ('alerts_recent', 'notifications_recent') order by 1"
    )
    assert await used.fetchall() == [("alerts_recent",), ("notifications_recent",)]
