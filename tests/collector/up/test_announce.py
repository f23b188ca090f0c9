"""What `outrider up` prints of alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider_collector.store.connect import connect
from outrider_collector.store.reading import alerts

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_EPISODE = """
with a as (
    insert into alerts (rule, key, labels, kind, priority, state, summary, started_at, fired_at,
        resolved_at, rule_set)
    values (%(rule)s, '{}', '{}', 'count', 'warning', 'resolved', 'too many', now(),
        case when %(fired)s then now() end, now(), 1)
    returning id
)
insert into alert_transitions (alert, step, from_state, to_state, at, concluded_at, reason)
select id, 1, 'pending', to_state, now(), now(), ''
from a, unnest(case when %(fired)s then array['firing', 'resolved'] else array['resolved'] end)
    as to_state
"""


async def _episode(connection: AsyncConnection, rule: str, *, fired: bool) -> None:
    await connection.execute(_EPISODE, {"rule": rule, "fired": fired})


async def test_the_end_of_what_never_fired_is_not_told(database_url: str) -> None:
    """Who was not told that it began need not be told that it ended."""
    async with await connect(database_url, application_name="t") as connection:
        await _episode(connection, "pending only", fired=False)
        await _episode(connection, "fired", fired=True)
        told = await alerts.transitions_after(connection, 0)
    assert [one.to_state for one in told] == ["firing", "resolved"]
    assert len({one.alert for one in told}) == 1
