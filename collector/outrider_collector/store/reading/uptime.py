"""How long each component was up: ninety days of bars, the share, the budget."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from outrider_collector.store.reading.availability import DAY_MS, DAYS, HealthConfig, uptime
from outrider_collector.store.reading.session import snapshot
from outrider_collector.store.reading.types import Day, Uptime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

    from outrider_collector.store.reading.session import Snapshot

_NOW: Final = sql.SQL("select now()")

# Days that are over and, since then, computed. One row for each component.
_DAYS: Final = sql.SQL("""
    select d.component_kind, d.component, array_agg(d.day), array_agg(d.up_ms),
           array_agg(d.degraded_ms), array_agg(d.down_ms), array_agg(d.maintenance_ms)
    from (
        select day, component_kind, component, up_ms, degraded_ms, down_ms, maintenance_ms
        from health_days where day >= %(first)s
        union all
        select n.day, n.component_kind, n.component, n.up_ms, n.degraded_ms, n.down_ms,
               n.maintenance_ms
        from health_rolled r
        cross join lateral health_days_between(r.before::timestamp at time zone 'UTC', now()) n
        where n.day >= %(first)s
    ) d
    where {which}
    group by d.component_kind, d.component
    order by d.component_kind, d.component
    """)

_WATCHED: Final = sql.SQL("""
    select w.day, trunc(extract(epoch from sum(w.ended_at - w.began_at)) * 1000)::integer
    from health_watched_between(%(first)s::date::timestamp at time zone 'UTC', now()) w
    group by w.day
    """)

_FIRST_WATCH: Final = sql.SQL("select min(began_at) from health_watches")


async def uptimes(
    conn: AsyncConnection[Any],
    kinds: Sequence[str] | None = None,
    config: HealthConfig | None = None,
) -> dict[tuple[str, str], Uptime]:
    """Return the uptime of all components (of these kinds) that were measured at all.

    Keyed by kind and component, as ``system_health`` names them. ``config`` sets the targets.
    """
    config = config or HealthConfig()
    which = sql.SQL("true" if kinds is None else "d.component_kind = any(%(kinds)s)")
    async with snapshot(conn) as open_snapshot:
        now = await _now(open_snapshot)
        asked = {"first": _first_day(now), "kinds": list(kinds or ())}
        rows = await open_snapshot.rows(_DAYS.format(which=which), asked)
    found, calendar = {}, _days(now)
    for kind, component, *columns in rows:
        measured = {day: numbers for day, *numbers in zip(*columns, strict=True)}
        days = [_day(day, over_ms, measured.get(day)) for day, over_ms in calendar]
        found[kind, component] = uptime(kind, component, days, config.of(kind, component))
    return found


async def watching(conn: AsyncConnection[Any], config: HealthConfig | None = None) -> Uptime:
    """Return how long any collector watched: kind "collector", no component's name.

    Since the first time, the rest is down; before it, not measured.
    """
    async with snapshot(conn) as open_snapshot:
        now = await _now(open_snapshot)
        first_day = _first_day(now)
        rows = await open_snapshot.rows(_WATCHED, {"first": first_day})
        watched_ms: dict[date, int] = dict(rows)
        since = await open_snapshot.row(_FIRST_WATCH)
    began: datetime | None = since[0] if since else None
    days = []
    for day, over_ms in _days(now):
        before_ms = over_ms
        if began is not None:
            before_ms = min(over_ms, max(0, _ms_into(day, began)))
        up_ms = min(watched_ms.get(day, 0), over_ms - before_ms)
        days.append(Day(day, up_ms, 0, over_ms - before_ms - up_ms, 0, before_ms))
    return uptime("collector", "", days, (config or HealthConfig()).of("collector", ""))


def _day(day: date, over_ms: int, measured: Sequence[int] | None) -> Day:
    if measured is None:
        return Day(day, 0, 0, 0, 0, over_ms)
    up_ms, degraded_ms, down_ms, maintenance_ms = measured
    unmeasured_ms = max(0, over_ms - sum(measured))
    return Day(day, up_ms, degraded_ms, down_ms, maintenance_ms, unmeasured_ms)


def _days(now: datetime) -> list[tuple[date, int]]:
    """The last 90 days up to today, and how much of each is over."""
    first = _first_day(now)
    days = [(first + timedelta(days=n), DAY_MS) for n in range(DAYS - 1)]
    return [*days, (now.date(), _ms_into(now.date(), now))]


def _first_day(now: datetime) -> date:
    return now.date() - timedelta(days=DAYS - 1)


def _ms_into(day: date, moment: datetime) -> int:
    begin = datetime(day.year, day.month, day.day, tzinfo=moment.tzinfo)
    return (moment - begin) // timedelta(milliseconds=1)


async def _now(open_snapshot: Snapshot) -> datetime:
    row = await open_snapshot.row(_NOW)
    assert row is not None  # noqa: S101  a select without from returns one row
    moment: datetime = row[0]
    return moment.astimezone(UTC)
