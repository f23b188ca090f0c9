"""How long each state lasted, by day, and that it is stored once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from outrider_collector.store import uptime
from outrider_collector.store.connect import connect
from outrider_collector.store.housekeeping import keep_house
from tests.collector.store.test_housekeeping import MONTH

if TYPE_CHECKING:
    from psycopg import AsyncConnection

STEP = timedelta(minutes=10)
LOW = datetime(2026, 3, 1, tzinfo=UTC)
HIGH = LOW + timedelta(days=3, hours=7)
COUNTS_AS = {
    "up": "up", "degraded": "degraded", "lagging": "degraded", "down": "down", "expired": "down",
    "silent": "down", "dead": "down", "maintenance": "maintenance", "unknown": None,
    "retired": None,
}  # fmt: skip

Timeline = list[tuple[datetime, str]]


async def rows(connection: AsyncConnection[Any], query: str, *values: object) -> list[Any]:
    """All rows of a query."""
    return await (await connection.execute(query.encode(), values)).fetchall()


async def lived(connection: AsyncConnection[Any], component: str, timeline: Timeline) -> None:
    """Store a component with its history."""
    before: str | None = None
    for at, state in timeline:
        await connection.execute(
            "insert into system_health_history (component_kind, component, from_state, to_state,"
            " at) values ('worker', %s, %s, %s, %s)",
            (component, before, state, at),
        )
        before = state
    await connection.execute(
        "insert into system_health (component_kind, component, state, since)"
        " values ('worker', %s, %s, %s)",
        (component, before, timeline[-1][0]),
    )


async def watched(connection: AsyncConnection[Any], began: datetime, ended: datetime) -> None:
    """Store a span in which a collector watched."""
    await connection.execute("insert into health_watches values (%s, %s)", (began, ended))


def counted(
    timeline: Timeline, watches: list[tuple[datetime, datetime]]
) -> dict[date, Counter[str]]:
    """What a look at every ten minutes counts, in milliseconds."""
    found: dict[date, Counter[str]] = {}
    now = LOW
    while now < HIGH:
        state = next((state for at, state in reversed(timeline) if at <= now), None)
        counts_as = COUNTS_AS[state] if state else None
        if counts_as and any(began <= now < ended for began, ended in watches):
            found.setdefault(now.date(), Counter())[counts_as] += STEP // timedelta(milliseconds=1)
        now += STEP
    return found


async def test_days_are_what_a_look_at_every_moment_counts(
    connection: AsyncConnection[Any],
) -> None:
    """Random lives under spans of watching that overlap and have gaps, against a plain count."""
    chance = random.Random(8)

    def moment() -> datetime:
        return LOW + chance.randrange(-200, 600) * STEP

    watches = [(begin := moment(), begin + chance.randrange(1, 90) * STEP) for _ in range(8)]
    for began, ended in watches:
        await watched(connection, began, ended)
    lives = {}
    for number in range(60):
        times = sorted({moment() for _ in range(chance.randrange(1, 12))})
        lives[f"w{number}"] = [(at, chance.choice(list(COUNTS_AS))) for at in times]
        await lived(connection, f"w{number}", lives[f"w{number}"])
    found: dict[str, dict[date, Counter[str]]] = {name: {} for name in lives}
    for name, day, *numbers in await rows(
        connection,
        "select component, day, up_ms, degraded_ms, down_ms, maintenance_ms"
        " from health_days_between(%s, %s)",
        LOW,
        HIGH,
    ):
        parts = zip(("up", "degraded", "down", "maintenance"), numbers, strict=True)
        found[name][day] = +Counter(dict(parts))

    assert found == {name: counted(timeline, watches) for name, timeline in lives.items()}
    assert sum(map(len, found.values())) > 100


def _days_ago(days: float) -> datetime:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=days)


async def test_days_are_stored_before_their_history_goes(connection: AsyncConnection[Any]) -> None:
    """After forty days in which nobody kept house, no day is lost; doing it again changes nothing.

    The hours in which no collector watched are not counted.
    """
    await connection.execute("update health_rolled set before = %s", (_days_ago(45),))
    await watched(connection, _days_ago(43), _days_ago(41.25))
    await lived(connection, "w", [(_days_ago(44), "up"), (_days_ago(41.5), "dead")])
    await keep_house(connection, MONTH)
    stored = await rows(connection, "select day, up_ms, down_ms from health_days order by day")
    await keep_house(connection, MONTH)

    day_ms = 86_400_000
    assert [(up, down) for _, up, down in stored] == [(day_ms, 0), (day_ms // 2, day_ms // 4)]
    assert stored == await rows(
        connection, "select day, up_ms, down_ms from health_days order by day"
    )
    assert await rows(connection, "select 1 from system_health_history") == []


async def test_one_of_many_stores_the_days(database_url: str) -> None:
    """Several that roll up at once store each day once, and today not before it is over."""
    async with (
        await connect(database_url, application_name="test") as one,
        await connect(database_url, application_name="test") as two,
    ):
        await one.execute("update health_rolled set before = %s", (_days_ago(3),))
        await watched(one, _days_ago(3), datetime.now(UTC))
        await lived(one, "w", [(_days_ago(2.5), "up")])
        made = await asyncio.gather(uptime.roll_up(one), uptime.roll_up(two))

        # Within five minutes after midnight yesterday is not closed.
        assert min(made) == 0 and max(made) in {2, 3}
        ((last,),) = await rows(one, "select max(day) from health_days")
        assert last < datetime.now(UTC).date()


async def test_days_go_after_400_days(connection: AsyncConnection[Any]) -> None:
    """Old days and old spans of watching are removed."""
    await connection.execute(
        "insert into health_days select (now() at time zone 'UTC')::date - age, 'worker', 'w', 1,"
        " 1, 0, 0, 0 from (values (401), (400)) v(age)"
    )
    await watched(connection, _days_ago(500), _days_ago(402))
    done = await keep_house(connection, MONTH)

    assert done.deleted == {"health_days": 1, "health_watches": 1}


async def test_watching_is_one_span_until_it_is_interrupted(
    connection: AsyncConnection[Any],
) -> None:
    """A collector that looks again lengthens the span; after a pause it begins another."""
    await uptime.watched(connection)
    await uptime.watched(connection)
    ((began, ended),) = await rows(connection, "select * from health_watches")
    assert ended > began
    await connection.execute(
        "update health_watches set began_at = now() - interval '1 hour',"
        " ended_at = now() - interval '16 seconds'"
    )
    await uptime.watched(connection)

    assert await rows(connection, "select count(*) from health_watches") == [(2,)]
