"""A storm in the outbox: what may leave next is found at once, by the plan of a quiet time too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider_collector.store import outbox

if TYPE_CHECKING:
    from psycopg import AsyncConnection

WAITING = 10_000
PLANS_BEFORE_ONE_IS_KEPT = 10

_STORM = """
    with alert as (
        insert into alerts (rule, key, labels, kind, priority, state, summary, started_at, fired_at,
                            rule_set)
        select 'r', array[n::text], '{}', 'match',
               case when n = %(waiting)s then 'critical' else 'warning' end, 'firing', 's', now(),
               now(), 1
        from generate_series(1, %(waiting)s) n
        returning id, priority
    )
    insert into notifications (alert, notice, channel, channel_type, conversation, priority, fate,
                               content)
    select id, 'fired', 'ops', 'telegram', 'telegram:-1', priority, 'waiting', '{}' from alert
    """


async def test_a_storm_is_claimed_at_once(connection: AsyncConnection) -> None:
    """Ten thousand rows after a quiet time: the critical one first, then the others in bulk."""
    # Until there are new statistics, Postgres keeps the plan that it made while nothing waited.
    await connection.execute("alter table notifications set (autovacuum_enabled = false)")
    for _ in range(PLANS_BEFORE_ONE_IS_KEPT):
        assert await outbox.due(connection, limit=500) == []
    await connection.execute(_STORM, {"waiting": WAITING})
    await connection.execute("set statement_timeout = '10s'")

    (first,) = await outbox.due(connection, limit=500)
    (urgent,) = await outbox.claim(connection, [first.id], holder="one", lease_s=60.0)
    assert (first.priority, len(urgent.attempt_ids)) == ("critical", 1)
    # One message of a conversation is on its way at a time.
    assert await outbox.due(connection, limit=500) == []
    await connection.execute("update notifications set fate = 'sent' where fate = 'claimed'")

    (second,) = await outbox.due(connection, limit=500)
    (storm,) = await outbox.claim(connection, [second.id], holder="one", lease_s=60.0)
    assert second.priority == "warning"
    assert len(storm.attempt_ids) == outbox.TOGETHER_MAX + 1
