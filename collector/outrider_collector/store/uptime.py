"""SQL of uptime: when somebody watched, and the days that are over.

States have a history (:mod:`.health`); how long each lasted follows from it. A day (UTC) that is
over is stored once, so that ninety days of everybody are read quickly and outlive the history. The
days since then are computed on reading, by the same function of the database
(``health_days_between``).

A state says nothing of the time in which no collector looked. So collectors keep the spans in which
at least one of them watched, and what lies between counts as not measured: neither for nor against
anybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import AsyncConnection


async def watched(connection: AsyncConnection[Any]) -> None:
    """Lengthen the span in which collectors watched up to now, or begin another; commits nothing.

    To be called every few seconds by a collector that would have noticed if anybody fell silent.
    """
    await connection.execute(
        """
        with lengthened as (
            update health_watches set ended_at = greatest(ended_at, clock_timestamp())
            where began_at = (select max(began_at) from health_watches)
                and ended_at > clock_timestamp() - interval '15 seconds'
            returning 1
        )
        insert into health_watches (began_at, ended_at)
        select clock_timestamp(), clock_timestamp() where not exists (select from lengthened)
        on conflict (began_at) do nothing
        """
    )


async def roll_up(connection: AsyncConnection[Any]) -> int:
    """Store the days that are over and not stored yet; return how many component days that made.

    Safe by many at once, again, and after any pause. A day is closed five minutes after its end:
    by then the changes that collectors held in memory are in the history.
    """
    async with connection.transaction():
        cursor = await connection.execute(
            """
            select before, (now() - interval '5 minutes') at time zone 'UTC' >= before + 1
            from health_rolled for update
            """
        )
        row = await cursor.fetchone()
        if row is None or not row[1]:
            return 0
        made = await connection.execute(
            """
            insert into health_days (day, component_kind, component, team, up_ms, degraded_ms,
                                     down_ms, maintenance_ms)
            select * from health_days_between(
                %(before)s::date::timestamp at time zone 'UTC',
                date_trunc('day', now() - interval '5 minutes', 'UTC'))
            on conflict (day, component_kind, component) do update
                set team = excluded.team, up_ms = excluded.up_ms,
                    degraded_ms = excluded.degraded_ms, down_ms = excluded.down_ms,
                    maintenance_ms = excluded.maintenance_ms
            """,
            {"before": row[0]},
        )
        await connection.execute(
            "update health_rolled"
            " set before = ((now() - interval '5 minutes') at time zone 'UTC')::date"
        )
    return made.rowcount
